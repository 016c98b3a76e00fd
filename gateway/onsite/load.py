"""How full a line will be: the requests that its devices' periods ask for, and what they cost on its medium; pure.

A request of Modbus costs `(8 + 5 + 2N) t_c + 2 t_rest + T` with `t_c` the time of a character, `N` registers, the rest
between two frames and the turn-around `T` that the device takes to begin its answer. On a network `t_c` and the rests
are nothing and `T` is what the device and the way to it take.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import lcm
from typing import Final

from gateway.drivers.base import Group, Groups
from gateway.drivers.bus.bus import Timing
from gateway.drivers.cjt188 import decoder as cjt188
from gateway.drivers.dlt645 import decoder as dlt645
from gateway.drivers.modbus.planner import COIL_FUNCTIONS
from gateway.drivers.modbus.program import Programs
from gateway.templates.base import DeviceTemplate
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template

_AROUND_DLT645: Final = 4 + 12
"""Preamble and frame around the data."""
_AROUND_CJT188: Final = 4 + 13
_ITEM_OF_CJT188: Final = 3
"""Identifier and serial number."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, in bytes of the RTU frame or its like."""

    sent: int
    received: int
    rest_s: float = 0.0
    """Silence that the device needs before a request."""


@dataclass(frozen=True, slots=True)
class DeviceLoad:
    """What one device asks of its line: the requests of a visit for each set of groups, and how often it is due."""

    visits: Mapping[Groups, Sequence[Exchange]]
    periods_ms: Mapping[Group, int]


@dataclass(frozen=True, slots=True)
class LineLoad:
    """What a line has to do."""

    requests_per_s: float
    busy: float
    """Share of the time: above 1 the periods cannot be kept."""


def modbus_visits(programs: Programs, text: bool) -> dict[Groups, list[Exchange]]:
    """Requests of a Modbus unit; with `text` each byte is two characters (ASCII framing)."""
    rest_s = max(member.template.limits.pause_ms for member in programs.members) / 1000
    groups_of_all = frozenset[Group]().union(*(programs.groups(number) for number in range(len(programs.members))))
    visits: dict[Groups, list[Exchange]] = {}
    for groups in _sets(groups_of_all):
        visits[groups] = []
        for decoder in programs.of(groups):
            block = decoder.block
            data = (block.count + 7) // 8 if block.function in COIL_FUNCTIONS else 2 * block.count
            sizes = (8, 5 + data)
            sent, received = (2 * size - 1 for size in sizes) if text else sizes
            visits[groups].append(Exchange(sent, received, rest_s))
    return visits


def item_visits(template: DeviceTemplate) -> dict[Groups, list[Exchange]]:
    """Requests of a DL/T 645 or CJ/T 188 meter: one for each data item."""
    if isinstance(template, Dlt645Template):
        rest_s, identifier = template.pause_ms / 1000, 4 if template.edition == "2007" else 2
        around = _AROUND_DLT645 + identifier
        return {
            groups: [Exchange(around, around + item.expected_bytes, rest_s) for item in program]
            for groups, program in dlt645.compile_template(template).items()
        }
    assert isinstance(template, Cjt188Template), template.protocol
    rest_s, around = template.pause_ms / 1000, _AROUND_CJT188 + _ITEM_OF_CJT188
    return {
        groups: [Exchange(around, around + item.length, rest_s) for item in program]
        for groups, program in cjt188.compile_template(template).items()
    }


def line_load(devices: Sequence[DeviceLoad], timing: Timing, turnaround_s: float) -> LineLoad:
    """What all devices together ask of a line."""
    requests = busy = 0.0
    for device in devices:
        for groups, per_s in visits_per_s(device.periods_ms).items():
            exchanges = device.visits.get(groups, ())
            requests += per_s * len(exchanges)
            busy += per_s * sum(_seconds(one, timing, turnaround_s) for one in exchanges)
    return LineLoad(requests, busy)


def visits_per_s(periods_ms: Mapping[Group, int]) -> dict[Groups, float]:
    """How often each set of groups is due; groups whose slots fall together are read in one visit."""
    if len(periods_ms) < 2:
        return {frozenset({group}): 1000 / period for group, period in periods_ms.items()}
    long, short = sorted(periods_ms, key=lambda group: periods_ms[group], reverse=True)
    if periods_ms[long] % periods_ms[short]:
        # Slots of periods that are no multiples of each other are spread apart; now and then they do fall together.
        return {frozenset({group}): 1000 / period for group, period in periods_ms.items()}
    together = 1000 / lcm(*periods_ms.values())
    return {frozenset({short}): 1000 / periods_ms[short] - together, frozenset({long, short}): together}


def _seconds(exchange: Exchange, timing: Timing, turnaround_s: float) -> float:
    before = max(timing.silence_s, exchange.rest_s)
    characters = exchange.sent + exchange.received
    return characters * timing.character_s + before + timing.silence_s + turnaround_s


def _sets(groups: Groups) -> list[Groups]:
    single = [frozenset({group}) for group in sorted(groups)]
    return single if len(single) < 2 else [*single, groups]
