"""Which numbered place a reservation gets, so that it is refused only when there is really none. Pure."""

import heapq
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

NEW: Final = 0
"""Stands for the reservation that is asked for."""


@dataclass(frozen=True, slots=True)
class Taken:
    """A place taken from `start` to before `end`; `number` is None for one that lost its place to another."""

    id: int
    start: datetime
    end: datetime
    number: int | None


def numbers_with(taken: Sequence[Taken], start: datetime, end: datetime, places: int) -> dict[int, int] | None:
    """The numbers that change when one more place is taken, by id, with that of the new one under `NEW`.

    None when at some moment of it all `places` are taken. A number that is free all the time is used; where there is
    none although a place is left at every moment, the others change theirs. Those without a number get none.
    """
    beside = [one for one in taken if one.start < end and start < one.end]
    if most_at_once(beside, start, end) >= places:
        return None
    used = {one.number for one in beside}
    free = next((number for number in range(1, places + 1) if number not in used), None)
    if free is not None:
        return {NEW: free}
    before = {one.id: one.number for one in taken if one.number is not None}
    numbers = _numbered([*(one for one in taken if one.id in before), Taken(NEW, start, end, None)])
    return {id_: number for id_, number in numbers.items() if before.get(id_) != number}


def most_at_once(taken: Sequence[Taken], start: datetime, end: datetime) -> int:
    """How many places are taken at the fullest moment from `start` to before `end`."""
    moments = [start, *(one.start for one in taken if start < one.start < end)]
    return max(sum(one.start <= moment < one.end for one in taken) for moment in moments)


def _numbered(taken: Sequence[Taken]) -> dict[int, int]:
    """The lowest number that is free when each begins: no more numbers than are taken at once."""
    numbers: dict[int, int] = {}
    going: list[tuple[datetime, int]] = []
    free: list[int] = []
    highest = 0
    for one in sorted(taken, key=lambda one: (one.start, one.id)):
        while going and going[0][0] <= one.start:
            heapq.heappush(free, heapq.heappop(going)[1])
        if free:
            number = heapq.heappop(free)
        else:
            highest += 1
            number = highest
        numbers[one.id] = number
        heapq.heappush(going, (one.end, number))
    return numbers
