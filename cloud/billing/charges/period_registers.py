"""Registers of price periods: which of them a piece goes by, where they stood at its ends, and what that makes of it.

The bill charges what the total register counted. What the registers of the periods leave of it, or count beyond it, is
charged in the period with the largest quantity; above the tolerance of V14 somebody has to look first.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from cloud.billing import repository
from cloud.billing.charges.pieces import Piece, Unbillable
from cloud.billing.records import Cited
from cloud.kit.db import Conn
from cloud.kit.periods import Period, day_start
from cloud.metering import service as metering
from cloud.metering.periods.advances import Counter
from cloud.metering.records import BoundaryReading, Meter
from cloud.tariffs.model.registers import RegisterMap, by_period, spread
from gateway.contract.quantities import BY_CODE

CHANNELS: Final[Mapping[str, int]] = {
    name: BY_CODE[f"energy_import_{name}"].number
    for name in ("total", "sharp", "peak", "flat", "valley", "deep_valley")
}
"""Channel by name of the register."""


@dataclass(frozen=True, slots=True)
class RegisterRead:
    """A register at both ends of a piece, and its advance, multiplier applied."""

    name: str
    channel: int
    opening: BoundaryReading
    closing: BoundaryReading
    advance: int


@dataclass(frozen=True, slots=True)
class Registers:
    """What the registers of a meter make of a piece: `runs` adds up to `quantity`, what the meter counted in all.

    `remainder` of it no register of a period counted (below 0: they counted more); it is charged in `remainder_in`.
    """

    wanted: RegisterMap
    reads: tuple[RegisterRead, ...]
    quantity: int
    runs: tuple[tuple[str, int], ...]
    remainder: int
    remainder_in: str | None


@dataclass(slots=True)
class RegisterFacts:
    """Readings and counters of the registers of price periods, and what neighbouring charges cite of them."""

    readings: dict[tuple[int, int, datetime], BoundaryReading] = field(default_factory=dict)
    counters: dict[tuple[int, int], Counter] = field(default_factory=dict)
    cited: dict[tuple[int, str, date, int], BoundaryReading] = field(default_factory=dict)

    def cite(self, cited: Cited) -> None:
        """What a neighbouring charge cites."""
        for one in cited.registers:
            for day, end in ((cited.period.start, "opening"), (cited.period.end, "closing")):
                self.cited[cited.meter_id, cited.service, day, one["channel"]] = _reading(one[end])

    async def load(self, conn: Conn, zone: ZoneInfo, pieces: Iterable[Piece], cite: Callable[[Cited], None]) -> None:
        """Reads what these pieces need; a piece that cannot go by registers is passed over."""
        mine = [(piece, wanted) for piece in pieces if (wanted := _map(piece)) is not None]
        if not mine:
            return
        wanted_at = [
            (piece.agreement.meter_id or 0, CHANNELS[name], day_start(day, zone))
            for piece, wanted in mine
            for name in wanted.names
            for day in (piece.period.start, piece.period.end)
        ]
        self.readings = await metering.register_readings(conn, wanted_at)
        span = Period(min(piece.period.start for piece, _ in mine), max(piece.period.end for piece, _ in mine))
        channels = sorted({(meter_id, channel) for meter_id, channel, _ in wanted_at})
        self.counters = await metering.register_counters(conn, channels, *span.instants(zone))
        for cited in await repository.cited_registers(conn, sorted({meter_id for meter_id, _ in channels}), span):
            cite(cited)


def _reading(cited: Mapping[str, Any]) -> BoundaryReading:
    return BoundaryReading(datetime.fromisoformat(cited["taken_at"]), cited["value"], 0)


def _map(piece: Piece) -> RegisterMap | None:
    """The map of a piece that goes by registers; None for another, and where none is known."""
    periods = piece.version.content.periods
    if periods is None or piece.time_of_use != "registers" or piece.agreement.meter_id is None:
        return None
    if piece.agreement.registers is None:
        return periods.register_map
    try:
        found = RegisterMap.model_validate(piece.agreement.registers)
    except ValidationError:
        return None
    return found if set(found.periods) == set(periods.codes) else None


def map_of(piece: Piece) -> RegisterMap:
    """Which registers count the periods of a piece that goes by them. Raises Unbillable."""
    found, service = _map(piece), piece.agreement.service
    periods = piece.version.content.periods
    assert periods is not None
    if found is None:
        raise Unbillable(
            "registers-not-mapped",
            f"{service}: nobody said which registers of the meter count {', '.join(periods.codes)}",
        )
    if periods.allocation.method == "chronological":
        raise Unbillable(
            "registers-no-order",
            f"{service}: the tariff fills its tiers in the order of time, which registers do not tell",
        )
    return found


def is_plain(piece: Piece) -> bool:
    """Whether nothing is agreed but that the registers of the periods together make the total."""
    wanted = _map(piece)
    return wanted is None or wanted.plain


def channels(piece: Piece) -> tuple[int, ...]:
    """Channels of the registers that a piece is billed by beside the main one."""
    wanted = _map(piece)
    return () if wanted is None else tuple(CHANNELS[name] for name in wanted.names)


def beside(piece: Piece) -> tuple[int, ...]:
    """Channels whose usage the main channel of the meter leaves out."""
    wanted = _map(piece)
    return () if wanted is None else tuple(CHANNELS[name] for name in wanted.beside_total)


@dataclass(frozen=True, slots=True)
class _Total:
    """What the total register counted, and by how much the others may differ from it; None: by any amount."""

    quantity: int
    tolerance: int | None


def counted_by_registers(
    piece: Piece, facts: RegisterFacts, meter: Meter, zone: ZoneInfo, total: int, tolerance: int | None
) -> Registers:
    """What the registers make of a piece of which the total register counted `total`. Raises Unbillable.

    `tolerance`: by how much the registers of the periods may differ from the total together; None: by any amount.
    """
    wanted = map_of(piece)
    reads = tuple(_read(piece, facts, meter, zone, name) for name in wanted.names)
    advances = {one.name: one.advance for one in reads} | {"total": total}
    quantity = total + sum(advances[name] for name in wanted.beside_total)
    said = by_period(wanted, advances)
    # In the order of the tariff: of equal periods the first takes the remainder, whatever order the map was kept in.
    quantities = {code: said[code] for code in piece.version.content.period_codes}
    _check(piece, meter, quantities, _Total(quantity, tolerance))
    try:
        found = spread(quantities, quantity)
    except ValueError:
        raise Unbillable(
            "register-sum", _differ(piece, meter, quantities, quantity) + ", more than can be taken off one period"
        ) from None
    return Registers(wanted, reads, quantity, found.quantities, found.remainder, found.remainder_in)


def _read(piece: Piece, facts: RegisterFacts, meter: Meter, zone: ZoneInfo, name: str) -> RegisterRead:
    channel, period, service = CHANNELS[name], piece.period, piece.agreement.service
    ends = [
        facts.cited.get((meter.id, service, day, channel))
        or facts.readings.get((meter.id, channel, day_start(day, zone)))
        for day in (period.start, period.end)
    ]
    for day, found in zip((period.start, period.end), ends, strict=True):
        if found is None:
            raise Unbillable(
                "missing-register-reading",
                f"{service}: register {name} of meter {meter.code} has no reading at the start of {day},"
                f" where {_why(piece, day)}",
            )
    opening, closing = ends
    assert opening is not None
    assert closing is not None
    advance = facts.counters[meter.id, channel].advance(opening, closing)
    if advance is None or advance < 0:
        raise Unbillable(
            "register-unknown",
            f"{service}: what register {name} of meter {meter.code} counted in {period} is not known:"
            " it was exchanged without its readings, or ran backwards",
        )
    return RegisterRead(name, channel, opening, closing, advance)


def _why(piece: Piece, day: date) -> str:
    """What makes a reading of that day necessary."""
    if day in (piece.bill.start, piece.bill.end):
        return "the bill begins or ends"
    return "the tariff, its season or its tier window changes: registers cannot be divided without a reading"


def _check(piece: Piece, meter: Meter, quantities: Mapping[str, int], total: _Total) -> None:
    negative = [code for code, quantity in quantities.items() if quantity < 0]
    if negative:
        raise Unbillable(
            "register-sum",
            f"{piece.agreement.service}: the registers of meter {meter.code} make less than nothing of"
            f" {', '.join(negative)} in {piece.period}: which registers count it is said wrongly",
        )
    if total.tolerance is not None and abs(total.quantity - sum(quantities.values())) > total.tolerance:
        raise Unbillable("register-sum", _differ(piece, meter, quantities, total.quantity))


def _differ(piece: Piece, meter: Meter, quantities: Mapping[str, int], quantity: int) -> str:
    found = sum(quantities.values())
    return (
        f"{piece.agreement.service}: the registers of the periods of meter {meter.code} add up to {_kwh(found)} kWh in"
        f" {piece.period}, its total counted {_kwh(quantity)} kWh"
    )


def _kwh(quantity: int) -> str:
    return f"{quantity // 1000}.{quantity % 1000:03}"


def register_inputs(registers: Registers) -> dict[str, object]:
    """All that follows from registers in a charge, for JSON."""
    found: dict[str, object] = {
        "registers": [
            {
                "name": one.name,
                "channel": one.channel,
                "opening": reading_inputs(one.opening),
                "closing": reading_inputs(one.closing),
                "advance": one.advance,
            }
            for one in registers.reads
        ],
        "register_map": registers.wanted.model_dump(mode="json"),
    }
    if registers.remainder:
        found["remainder"] = {"quantity": registers.remainder, "time_period": registers.remainder_in}
    return found


def reading_inputs(reading: BoundaryReading) -> dict[str, datetime | int]:
    """A boundary reading as a bill cites it."""
    return {"taken_at": reading.taken_at, "value": reading.value, "quality": reading.quality}


def register_readings(inputs: Mapping[str, Any]) -> Sequence[tuple[str, int]]:
    """The readings of registers that the inputs of a charge cite, whatever their quality."""
    return [
        (one[end]["taken_at"], one[end]["value"])
        for one in inputs.get("registers", ())
        for end in ("opening", "closing")
    ]
