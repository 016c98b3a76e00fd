"""What a device on a simulated bus is."""

from typing import Protocol


class BusDevice(Protocol):
    """Hears every frame on the bus and answers those that are meant for it."""

    def answer(self, frame: bytes) -> bytes | None:
        """The answer to `frame`, from its first byte behind any preamble (FE) to its last; None to stay silent."""
