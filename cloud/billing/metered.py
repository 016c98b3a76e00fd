"""What the meter of a piece counted, with the readings that a bill cites; or why it cannot be billed."""

from dataclasses import dataclass

from cloud.billing.facts import Facts
from cloud.billing.period_registers import Registers, counted_by_registers, map_of
from cloud.billing.pieces import Piece, Unbillable
from cloud.metering.records import BoundaryReading, Meter, MeterException


@dataclass(frozen=True, slots=True)
class Metered:
    """What the meter of a piece counted: boundary readings before, `quantity` after the multiplier."""

    meter: Meter
    opening: BoundaryReading
    closing: BoundaryReading
    quantity: int
    before: int
    """Usage of the tier window before the piece, as far as this agreement has to answer for it."""
    runs: tuple[tuple[str, int], ...] = ()
    """Price period and quantity, by intervals in the order of time; empty in a tariff without periods. Adds up to
    `quantity`."""
    registers: Registers | None = None
    """What the registers of the periods say, where they are billed by."""

    def of_period(self, code: str) -> int:
        """Quantity in one price period."""
        return sum(quantity for period, quantity in self.runs if period == code)


def metered(piece: Piece, facts: Facts) -> Metered:
    """What the meter counted. Raises Unbillable."""
    service = piece.agreement.service
    meter = facts.meters.get(piece.agreement.meter_id or 0)
    if meter is None:
        raise Unbillable("missing-meter", f"{service}: the agreement names no meter")
    _check_source(piece)
    for doubt in _doubts(piece, facts, meter):
        raise Unbillable("open-exceptions", f"{service}: meter {meter.code} has an open finding: {doubt.rule}")
    opening, closing = _boundaries(piece, facts, meter)
    usage, counter = facts.usage(piece), facts.counters[meter.id]
    if not usage.complete:
        raise Unbillable(
            "incomplete-usage", f"{service}: usage of meter {meter.code} is not complete in {piece.period}"
        )
    if usage.quantity != counter.advance(opening, closing):
        raise Unbillable(
            "usage-not-settled", f"{service}: readings of meter {meter.code} came that usage does not show yet"
        )
    first, last = (
        facts.cited.get((meter.id, service, day), found)
        for day, found in ((piece.period.start, opening), (piece.period.end, closing))
    )
    quantity = counter.advance(first, last)
    if quantity is None or quantity < 0:
        raise Unbillable(
            "bills-overlap", f"{service}: neighbouring bills of meter {meter.code} cover {piece.period} already"
        )
    before = facts.used_before(piece)
    if piece.time_of_use == "registers":
        tolerance = counter.tolerance(first, last) if facts.asks else None
        found = counted_by_registers(piece, facts.registers, meter, facts.project.zone, quantity, tolerance)
        return Metered(meter, first, last, found.quantity, before, found.runs, found)
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


def _doubts(piece: Piece, facts: Facts, meter: Meter) -> list[MeterException]:
    """Open findings that stop the bill.

    Validation takes it for granted that all registers of periods together make the total. Where the agreement knows
    better, what it says is checked here, over the whole piece.
    """
    found = facts.doubts(meter, *piece.period.instants(facts.project.zone))
    if piece.time_of_use == "registers" and not map_of(piece).plain:
        return [doubt for doubt in found if doubt.rule != "register-sum"]
    return found


def _boundaries(piece: Piece, facts: Facts, meter: Meter) -> tuple[BoundaryReading, BoundaryReading]:
    start, end = piece.period.instants(facts.project.zone)
    ends = [facts.boundaries.get((meter.id, at)) for at in (start, end)]
    for day, found in zip((piece.period.start, piece.period.end), ends, strict=True):
        if found is None:
            raise Unbillable(
                "missing-reading",
                f"{piece.agreement.service}: meter {meter.code} has no reading at the start of {day}",
            )
    opening, closing = ends
    assert opening is not None
    assert closing is not None
    return opening, closing


def _runs(piece: Piece, facts: Facts, meter: Meter, quantity: int) -> tuple[tuple[str, int], ...]:
    """Usage by runs of price periods.

    Where a neighbouring bill cites another boundary reading, the difference belongs to the run beside that boundary;
    it is taken from, or added to, the last.
    """
    usage = facts.stretches(piece)
    if not usage.complete:
        raise Unbillable(
            "intervals-too-long",
            f"{piece.agreement.service}: intervals of meter {meter.code} do not fit the hours of the tariff",
        )
    quantities = list(usage.quantities)
    quantities[-1] += quantity - sum(quantities)
    if quantities[-1] < 0:
        raise Unbillable(
            "bills-overlap",
            f"{piece.agreement.service}: neighbouring bills of meter {meter.code} cover {piece.period} already",
        )
    return tuple((run.code, used) for run, used in zip(facts.runs(piece), quantities, strict=True))
