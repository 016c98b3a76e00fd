"""What takes the bytes that come out of a medium."""

import asyncio
from abc import ABC, abstractmethod
from typing import Final

_PIECE: Final = 4_096
"""Longer than any frame. asyncio's plain protocols get a fresh buffer of 256 KiB for every piece that arrives, which
costs more than all else that is done for a frame."""


class Receiver(asyncio.BufferedProtocol, ABC):
    """Takes what arrives, piece by piece; `connection_lost` is called when no more can come."""

    def __init__(self) -> None:
        self._buffer = memoryview(bytearray(_PIECE))

    def get_buffer(self, sizehint: int) -> memoryview:
        """Where the event loop puts the next piece."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """The event loop has put a piece there."""
        self.received(bytes(self._buffer[:nbytes]))

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes that arrived."""
