"""What the meter of a piece counted, with the readings that a bill cites; or why it cannot be billed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud.billing.charges.facts import Facts
from cloud.billing.charges.period_registers import Registers, counted_by_registers, map_of
from cloud.billing.charges.pieces import Piece, Unbillable
from cloud.billing.estimates.estimating import Estimate, not_over, too_often
from cloud.metering.records import BoundaryReading, Meter, MeterException


@dataclass(frozen=True, slots=True)
class Metered:
    """What the meter of a piece counted: boundary readings before, `quantity` after the multiplier.

    Where it is estimated a reading may be missing at either end, and `quantity` is not the difference of the two.
    """

    meter: Meter
    opening: BoundaryReading | None
    closing: BoundaryReading | None
    quantity: int
    before: int
    """Usage of the tier window before the piece, as far as this agreement has to answer for it."""
    runs: tuple[tuple[str, int], ...] = ()
    """Price period and quantity, by intervals in the order of time; empty in a tariff without periods. Adds up to
    `quantity`."""
    estimate: Estimate | None = None
    registers: Registers | None = None
    """What the registers of the periods say, where they are billed by."""

    def of_period(self, code: str) -> int:
        """Quantity in one price period."""
        return sum(quantity for period, quantity in self.runs if period == code)


def metered(piece: Piece, facts: Facts) -> Metered:
    """What the meter counted, or what is estimated of it. Raises Unbillable."""
    service = piece.agreement.service
    meter = facts.meters.get(piece.agreement.meter_id or 0)
    if meter is None:
        raise Unbillable("missing-meter", f"{service}: the agreement names no meter")
    _check_source(piece)
    reason = facts.why_not_measured(piece)
    if reason is not None:
        return _estimated(piece, facts, meter, reason)
    opening, closing = facts.ends(piece)
    assert opening is not None
    assert closing is not None
    usage, counter = facts.usage(piece), facts.counters[meter.id]
    if usage.quantity != counter.advance(opening, closing):
        raise Unbillable(
            "usage-not-settled", f"{service}: readings of meter {meter.code} came that usage does not show yet"
        )
    first, last = _cited(piece, facts, (opening, closing))
    quantity = None if first is None or last is None else counter.advance(first, last)
    if quantity is None or quantity < 0:
        raise _overlap(piece, meter)
    before = facts.used_before(piece)
    if piece.time_of_use == "registers":
        assert first is not None
        assert last is not None
        tolerance = None if facts.policy.open_exceptions == "bill" else counter.tolerance(first, last)
        found = counted_by_registers(piece, facts.registers, meter, facts.project.zone, quantity, tolerance)
        return Metered(meter, first, last, found.quantity, before, found.runs, registers=found)
    runs = () if piece.time_of_use is None else _runs(piece, facts, meter, quantity)
    return Metered(meter, first, last, quantity, before, runs)


def _check_source(piece: Piece) -> None:
    """Raises Unbillable where usage by price period cannot be told in the way that is agreed."""
    periods = piece.version.content.periods
    if piece.time_of_use == "registers":
        map_of(piece)
    elif periods is not None and not periods.schedule:
        raise Unbillable(
            "intervals-no-hours", f"{piece.agreement.service}: the tariff has no hours by which intervals could be told"
        )


def _estimated(piece: Piece, facts: Facts, meter: Meter, reason: Unbillable) -> Metered:
    """What is estimated where readings cannot tell. Raises `reason` where that is not allowed."""
    found = facts.estimate(piece)
    if found is None:
        asked = reason.code != "open-exceptions" and facts.policy.missing_readings == "estimate"
        raise not_over(piece) if asked and facts.policy.is_ahead(piece) else reason
    as_billed = facts.as_billed(piece)
    if as_billed is not None:
        return _as_billed(as_billed, meter, facts.used_before(piece))
    doubts = facts.doubts(piece)
    estimate = Estimate.of(found, reason, sorted({doubt.rule for doubt in doubts}))
    refused = (
        None if estimate.kind == "between" else too_often(piece, facts.estimated_before(piece), facts.policy.limit)
    )
    if refused is not None:
        raise refused
    ends = [None if end is not None and _in_doubt(end, doubts) else end for end in facts.ends(piece)]
    cited = _cited(piece, facts, ends)
    quantity = found.quantity
    # Between another reading that the neighbour cites and the boundary of usage lies what neither may lose or double.
    for then, now, sign in zip(cited, ends, (1, -1), strict=True):
        quantity += sign * _between(piece, facts, meter, then, now)
    if quantity < 0:
        raise _overlap(piece, meter)
    runs: tuple[tuple[str, int], ...] = ()
    if piece.version.content.periods is not None:
        runs = _by_run(piece, facts, meter, found.parts, quantity)
    return Metered(meter, *cited, quantity, facts.used_before(piece), runs, estimate)


def _as_billed(inputs: Mapping[str, Any], meter: Meter, before: int) -> Metered:
    """The same estimate as before, on what was used before it by now."""
    opening, closing = (
        BoundaryReading(datetime.fromisoformat(one["taken_at"]), one["value"], one["quality"]) if one else None
        for one in (inputs.get("opening"), inputs.get("closing"))
    )
    runs = tuple((code, int(quantity)) for code, quantity in inputs.get("runs", ()))
    estimate = Estimate.kept(inputs["estimate"])
    return Metered(meter, opening, closing, int(inputs["quantity"]), before, runs, estimate)


def _in_doubt(reading: BoundaryReading, doubts: Sequence[MeterException]) -> bool:
    return any(doubt.from_at <= reading.taken_at <= doubt.until_at for doubt in doubts)


def _cited(
    piece: Piece, facts: Facts, ends: Sequence[BoundaryReading | None]
) -> tuple[BoundaryReading | None, BoundaryReading | None]:
    """The readings that the bill cites: those of its neighbours, where there is any at this end."""
    place = piece.agreement.meter_id or 0, piece.agreement.service
    first, last = (
        None if found is None else facts.cited.get((*place, day), found)
        for day, found in zip((piece.period.start, piece.period.end), ends, strict=True)
    )
    return first, last


def _between(
    piece: Piece, facts: Facts, meter: Meter, then: BoundaryReading | None, now: BoundaryReading | None
) -> int:
    """What was counted from one reading of a boundary to another; negative where the other came first."""
    if then is None or now is None or then == now:
        return 0
    forward = then.taken_at <= now.taken_at
    counter = facts.counters[meter.id]
    advance = counter.advance(then, now) if forward else counter.advance(now, then)
    if advance is None:
        raise _overlap(piece, meter)
    return advance if forward else -advance


def _overlap(piece: Piece, meter: Meter) -> Unbillable:
    return Unbillable(
        "bills-overlap",
        f"{piece.agreement.service}: neighbouring bills of meter {meter.code} cover {piece.period} already",
    )


def _runs(piece: Piece, facts: Facts, meter: Meter, quantity: int) -> tuple[tuple[str, int], ...]:
    """Usage by runs of price periods."""
    usage = facts.stretches(piece)
    if not usage.complete:
        raise Unbillable(
            "intervals-too-long",
            f"{piece.agreement.service}: intervals of meter {meter.code} do not fit the hours of the tariff",
        )
    return _by_run(piece, facts, meter, usage.quantities, quantity)


def _by_run(
    piece: Piece, facts: Facts, meter: Meter, usage: Sequence[int], quantity: int
) -> tuple[tuple[str, int], ...]:
    """Usage by runs, adding up to `quantity`.

    Where a neighbouring bill cites another boundary reading, the difference belongs to the run beside that boundary;
    it is taken from, or added to, the last.
    """
    quantities = list(usage)
    quantities[-1] += quantity - sum(quantities)
    if quantities[-1] < 0:
        raise _overlap(piece, meter)
    return tuple((run.code, used) for run, used in zip(facts.runs(piece), quantities, strict=True))
