"""What the meter of a piece counted, with the readings that a bill cites; or why it cannot be billed."""

from dataclasses import dataclass

from cloud.billing.facts import Facts
from cloud.billing.pieces import Piece, Unbillable
from cloud.metering.records import BoundaryReading, Meter


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
    """Price period and quantity in the order of time; empty in a tariff without periods. Adds up to `quantity`."""

    def of_period(self, code: str) -> int:
        """Quantity in one price period."""
        return sum(quantity for period, quantity in self.runs if period == code)


def metered(piece: Piece, facts: Facts) -> Metered:
    """What the meter counted. Raises Unbillable."""
    service = piece.agreement.service
    meter = facts.meters.get(piece.agreement.meter_id or 0)
    if meter is None:
        raise Unbillable("missing-meter", f"{service}: the agreement names no meter")
    periods = piece.version.content.periods
    if periods is not None and not periods.schedule:
        raise Unbillable("periods-not-metered", f"{service}: registers by period are not billed yet")
    for doubt in facts.doubts(meter, *piece.period.instants(facts.project.zone)):
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
    runs = () if periods is None else _runs(piece, facts, meter, quantity)
    return Metered(meter, first, last, quantity, facts.used_before(piece), runs)


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
