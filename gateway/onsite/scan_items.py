"""Which DL/T 645 and CJ/T 188 meters answer on a bus: they are called by number, and wildcards ask whoever is there."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Final

from gateway.drivers.bus.question import Asks, Question
from gateway.drivers.cjt188 import frame as cjt188
from gateway.drivers.dlt645 import frame as dlt645
from gateway.errors import ExceptionReply, MalformedReply, NoAnswer
from gateway.onsite.found import Found

_ENERGY: Final = {dlt645.EDITION_2007: ("00010000", "0001FF00", "00000000"), dlt645.EDITION_1997: ("9010", "901F")}
"""Registers of which every electricity meter has one."""
_ANSWER_645: Final = 4 + 12 + 4 + 4
_ANSWER_188: Final = 4 + 13 + 3 + 19


async def dlt645_meters(bus: Asks, stop: asyncio.Event, asked: Callable[[str], None]) -> AsyncIterator[Found | str]:
    """The meters of a bus, and notes on what could not be told apart. `asked` hears what is asked for.

    One meter is found at once. When several answer a wildcard together their frames collide, and the search goes on
    by the last two digits of the number, then the last four and so on, as far as meters understand shortened addresses.
    """
    for edition in (dlt645.EDITION_2007, dlt645.EDITION_1997):
        seen: set[str] = set()
        collided = False
        patterns = [""]
        while patterns and not stop.is_set():
            pattern = patterns.pop(0)
            asked(f"address {pattern.rjust(12, '·')}")
            heard = await _heard_645(bus, pattern.rjust(12, "A"), edition)
            if heard is True and len(pattern) == 12:
                yield f"several meters answer at once as address {pattern}"
            elif heard is True:
                collided = True
                patterns = [f"{number:02}{pattern}" for number in range(100)] + patterns
            elif isinstance(heard, str) and heard not in seen:
                seen.add(heard)
                yield Found("dlt645", address=heard)
        if collided and not seen and not stop.is_set():
            yield "DL/T 645 meters answer, but garbled: several at once, or a wrong baud rate or parity"
        if seen or collided:
            return  # who speaks 2007 may understand the other edition too


async def _heard_645(bus: Asks, address: str, edition: dlt645.Edition) -> str | bool:
    """The number of the one who answered, whether somebody did who cannot be told, or nobody. Raises LineDown."""
    requests = [(edition.read, dlt645.identifier(item)) for item in _ENERGY[edition]]
    if address == dlt645.EVERY_ADDRESS and edition is dlt645.EDITION_2007:
        requests.insert(0, (dlt645.Function.READ_ADDRESS, b""))
    somebody = False
    for function, data in requests:
        try:
            return await bus.ask(_whoever_645(address, function, data, edition))
        except NoAnswer:
            if function != dlt645.Function.READ_ADDRESS:  # which not every meter understands
                return somebody
        except MalformedReply:
            return True
        except ExceptionReply:
            somebody = True  # alone, or its refusal could not be understood
    return address if "A" not in address else somebody


def _whoever_645(address: str, function: int, data: bytes, edition: dlt645.Edition) -> Question[str]:
    """Its answer is the number of whoever answers."""
    return Question(
        request=dlt645.build(dlt645.Frame(address, function, data)),
        judge=lambda received: dlt645.judge_answer(
            received, address, function, edition.refusals, lambda frame: frame.address
        ),
        look=("scan", address, function, data),
        answer_bytes=_ANSWER_645,
    )


async def cjt188_meters(bus: Asks, asked: Callable[[str], None]) -> AsyncIterator[Found | str]:
    """The one meter of a bus, or a note that there are several: shortened addresses are not known here."""
    for name, function in (
        (cjt188.READ_ADDRESS_ID, cjt188.Function.READ_ADDRESS),
        ("901F", cjt188.Function.READ),
    ):
        orders: tuple[cjt188.IdOrder, ...] = ("high-first", "low-first")
        for order in orders:
            asked(f"whoever speaks CJ/T 188, item {name}")
            heard = await _heard_188(bus, name, function, order)
            if isinstance(heard, str):
                yield heard
                return
            if heard is not None:
                yield Found("cjt188", address=heard[1], kind=heard[0])
                return


async def _heard_188(
    bus: Asks, name: str, function: cjt188.Function, order: cjt188.IdOrder
) -> tuple[int, str] | str | None:
    """(kind, number) of the one who answered, a note when several did, None for nobody. Raises LineDown."""
    asked = cjt188.Asked(cjt188.EVERY_KIND, cjt188.EVERY_ADDRESS, function, name, order, 1, repeats_serial=False)
    question = Question(
        request=cjt188.build(asked.request),
        judge=lambda received: cjt188.judge_answer(received, asked, lambda frame: (frame.kind, frame.address)),
        look=("scan", name, order),
        answer_bytes=_ANSWER_188,
    )
    try:
        return await bus.ask(question)
    except NoAnswer:
        return None
    except ExceptionReply:
        return "a CJ/T 188 meter answers, but refuses to tell its number"
    except MalformedReply:
        return "several CJ/T 188 meters answer at once: name them by the numbers on their plates"
