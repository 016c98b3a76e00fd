"""One DL/T 645 meter as a station of a bus: asks it for data items and gives it orders."""

from collections.abc import Callable, Hashable
from contextlib import suppress
from typing import Final, TypeVar

from gateway.drivers.bcd import number_in
from gateway.drivers.bus.question import Asks, Question, ask_without_doubt
from gateway.drivers.dlt645.frame import (
    EDITION_1997,
    EDITION_2007,
    Edition,
    Frame,
    Function,
    build,
    identifier,
    judge_answer,
)
from gateway.errors import DoubtfulReply, MalformedReply

T = TypeVar("T", bound=Hashable)

_AROUND_DATA: Final = 4 + 12
"""Bytes of an answer besides its data: preamble and frame."""
_MOST_BYTES: Final = 16_000
"""Of an answer in many frames."""


class Station:
    """Questions to one address. All methods raise as `Asks.ask` does."""

    def __init__(self, address: str, bus: Asks, edition: Edition = EDITION_2007, rest_s: float = 0.0) -> None:
        self._address, self._bus, self._edition, self._rest_s = address, bus, edition, rest_s

    async def item(self, name: str, expected_bytes: int = 0) -> bytes:
        """The data of an item, put together from as many frames as the meter sends."""
        item = identifier(name)
        question = self._reading(self._edition.read, item, b"", expected_bytes)
        data, more = await ask_without_doubt(self._bus, question)
        number = 0
        while more:
            number += 1
            if self._edition is EDITION_1997 or number > 0xFF or len(data) > _MOST_BYTES:
                raise MalformedReply(f"item {name} goes on behind {len(data)} bytes")
            question = self._reading(Function.READ_ON, item, bytes([number]), expected_bytes)
            part, more = await ask_without_doubt(self._bus, question)
            data += part
        return data

    async def number(self, name: str, size: int) -> int:
        """An item that is one decimal number. Raises MalformedReply also when it is not of `size` bytes, or missing."""
        data = await self.item(name, size)
        number = number_in(data) if len(data) == size else None
        if number is None:
            raise MalformedReply(f"item {name} is {data.hex()}")
        return number

    async def order(self, function: Function, data: bytes) -> None:
        """A request whose answer says no more than that it was obeyed. Sent once, whatever becomes of it."""
        # Perhaps the answer is a copy of that to an earlier order: this one was sent, and the meter will show it.
        with suppress(DoubtfulReply):
            await self._bus.ask(self._question(function, data, lambda frame: not frame.data or None, 0, changes=True))

    async def address(self) -> str:
        """The number of the meter that answers: how an address with wildcards is resolved."""
        question = self._question(Function.READ_ADDRESS, b"", _address_in, 6)
        return await ask_without_doubt(self._bus, question)

    def _reading(self, function: int, item: bytes, number: bytes, expected_bytes: int) -> Question[tuple[bytes, bool]]:
        """`number` is that of a continuation, which its answer repeats behind the data."""

        def take(frame: Frame) -> tuple[bytes, bool] | None:
            start, stop = len(item), len(frame.data) - len(number)
            if stop < start or frame.data[:start] != item or frame.data[stop:] != number:
                return None
            return frame.data[start:stop], frame.more_follows

        data = item + number
        return self._question(function, data, take, len(data) + expected_bytes, look=data)

    def _question(
        self,
        function: int,
        data: bytes,
        take: Callable[[Frame], T | None],
        answer_data_bytes: int,
        look: bytes = b"",
        changes: bool = False,
    ) -> Question[T]:
        """`look` is what of the request its answer repeats, besides address and function."""
        address, refusals = self._address, self._edition.refusals
        return Question(
            request=build(Frame(address, function, data)),
            judge=lambda received: judge_answer(received, address, function, refusals, take),
            look=("dlt645", address, function, look),
            answer_bytes=_AROUND_DATA + answer_data_bytes,
            rest_s=self._rest_s,
            changes=changes,
        )


def _address_in(frame: Frame) -> str | None:
    told = frame.data[::-1].hex().upper()
    return told if told == frame.address else None
