"""Drafts of bills: gathers readings, households and earlier charges, and rates all accounts of a chunk at once.

The household of a piece is the one filed on its first day; a change takes effect with the next piece.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from cloud.billing import repository
from cloud.billing.pieces import Piece, Unbillable, pieces
from cloud.billing.records import Charged, Uncharged
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.money import minor_digits
from cloud.kit.periods import Period, day_start
from cloud.metering import service as metering
from cloud.metering.advances import Counter
from cloud.metering.exceptions import open_exceptions
from cloud.metering.records import BoundaryReading, Meter, MeterException, UsageTotal
from cloud.metering.service import UsageKey
from cloud.tariffs import service as tariffs
from cloud.tariffs.columns import Usages
from cloud.tariffs.explain import Line, exact, explain, total
from cloud.tariffs.models import places
from cloud.tariffs.plan import AREA_EXPONENT, plan
from cloud.tariffs.rating import rate_batch


@dataclass(frozen=True, slots=True)
class Metered:
    """What the meter of a piece counted: boundary readings before, `quantity` after the multiplier."""

    meter: Meter
    opening: BoundaryReading
    closing: BoundaryReading
    quantity: int
    before: int
    """Usage of the tier window before the piece, as far as this agreement has to answer for it."""


@dataclass(frozen=True, slots=True)
class RatedPiece:
    """A piece with its amount, its explained lines, and everything they follow from."""

    piece: Piece
    metered: Metered | None
    persons: int
    area: Decimal
    carry: Decimal
    lines: tuple[Line, ...]
    amount: Decimal
    exact_amount: Decimal


@dataclass(frozen=True, slots=True)
class Drafts:
    """Rated pieces by account, and the accounts that cannot be billed."""

    rated: dict[int, list[RatedPiece]]
    failures: dict[int, Unbillable]


async def draft(
    conn: Conn, project: Project, uncharged: Sequence[Uncharged], *, stop_at_exceptions: bool = True
) -> Drafts:
    """Rates everything in `uncharged`. An account fails as a whole: half a bill is no bill.

    `stop_at_exceptions`: accounts whose readings have open findings are not billed but listed.
    """
    return await _Drafting(conn, project, stop_at_exceptions).run(uncharged)


class _Drafting:
    def __init__(self, conn: Conn, project: Project, stop_at_exceptions: bool) -> None:
        self._conn = conn
        self._project = project
        self._stop_at_exceptions = stop_at_exceptions
        self._doubtful: dict[int, list[MeterException]] = defaultdict(list)
        self._failures: dict[int, Unbillable] = {}
        self._rated: dict[int, list[RatedPiece]] = defaultdict(list)
        self._history: dict[int, list[Charged]] = defaultdict(list)
        self._usage: dict[UsageKey, UsageTotal] = {}
        self._counters: dict[int, Counter] = {}
        self._cited: dict[tuple[int, str, date], BoundaryReading] = {}
        """By meter, service and day: a charge begins with the reading that its neighbour ended with, and ends with
        the one that its neighbour begins with, even where a better one came since. So nothing between two readings
        is billed twice or never."""

    async def run(self, uncharged: Sequence[Uncharged]) -> Drafts:
        rounds = await self._rounds(uncharged)
        everything = [piece for one_round in rounds for piece in one_round]
        await self._load(everything)
        for one_round in rounds:
            self._rate_round([piece for piece in one_round if piece.agreement.account_id not in self._failures])
        rated = {account: found for account, found in self._rated.items() if account not in self._failures}
        return Drafts(rated, self._failures)

    async def _rounds(self, uncharged: Sequence[Uncharged]) -> list[list[Piece]]:
        """Round n holds the n-th piece of every agreement: a later piece builds on the usage of the earlier."""
        if not uncharged:
            return []
        whole = Period(min(one.period.start for one in uncharged), max(one.period.end for one in uncharged))
        tariff_ids = sorted({one.agreement.tariff_id for one in uncharged})
        versions = await tariffs.versions_between(self._conn, tariff_ids, whole)
        by_agreement: dict[int, list[Piece]] = defaultdict(list)
        for one in uncharged:
            try:
                by_agreement[one.agreement.id] += pieces(one, versions[one.agreement.tariff_id])
            except Unbillable as reason:
                self._failures.setdefault(one.agreement.account_id, reason)
        longest = max((len(found) for found in by_agreement.values()), default=0)
        return [[found[n] for found in by_agreement.values() if len(found) > n] for n in range(longest)]

    async def _load(self, everything: Sequence[Piece]) -> None:
        """Reads in bulk what all pieces need."""
        conn, zone = self._conn, self._project.zone
        account_ids = sorted({piece.agreement.account_id for piece in everything})
        self._accounts = await estate.accounts_by_id(conn, account_ids)
        self._units = await estate.units_by_id(conn, sorted(set(filter(None, map(self._unit_id, everything)))))
        meter_ids = sorted({piece.agreement.meter_id for piece in everything if piece.agreement.meter_id is not None})
        self._meters = await metering.meters_by_id(conn, meter_ids)
        wanted = {
            (meter_id, day_start(day, zone))
            for piece in everything
            if piece.metered and (meter_id := piece.agreement.meter_id) is not None
            for day in (piece.period.start, piece.period.end)
        }
        self._boundaries = await metering.boundary_readings(conn, sorted(wanted))
        self._persons = {
            day: await estate.household_persons(conn, sorted(self._units), day)
            for day in sorted({piece.period.start for piece in everything})
        }
        if everything:
            windows = [piece.window for piece in everything]
            span = Period(min(window.start for window in windows), max(piece.period.end for piece in everything))
            for charged in await repository.charged(conn, sorted({p.agreement.id for p in everything}), span):
                self._history[charged.agreement_id].append(charged)
            await self._load_usage(everything, meter_ids)

    async def _load_usage(self, everything: Sequence[Piece], meter_ids: Sequence[int]) -> None:
        """Usage of the pieces and of what lies unbilled before them, and the readings that other charges cite."""
        metered = [piece for piece in everything if piece.metered and piece.agreement.meter_id in self._meters]
        planned: dict[int, list[Period]] = defaultdict(list)
        for piece in metered:
            planned[piece.agreement.id].append(piece.period)
        keys = [
            self._usage_key(piece, stretch)
            for piece in metered
            for stretch in [piece.period, *self._unbilled_before(piece, planned[piece.agreement.id])]
        ]
        self._usage = await metering.usage_between_many(self._conn, keys)
        span = Period(min(piece.period.start for piece in everything), max(piece.period.end for piece in everything))
        self._counters = await metering.counters(self._conn, meter_ids, *span.instants(self._project.zone))
        if self._stop_at_exceptions:
            instants = span.instants(self._project.zone)
            for found in await open_exceptions(self._conn, self._project.id, meter_ids, *instants):
                self._doubtful[found.meter_id].append(found)
        for cited in await repository.cited(self._conn, meter_ids, span):
            place = cited.meter_id, cited.service
            self._cited[(*place, cited.period.start)] = BoundaryReading(cited.opening_at, cited.opening_value, 0)
            self._cited[(*place, cited.period.end)] = BoundaryReading(cited.closing_at, cited.closing_value, 0)

    def _usage_key(self, piece: Piece, stretch: Period) -> UsageKey:
        meter = self._meters[piece.agreement.meter_id or 0]
        return (meter.id, meter.main_channel.number, *stretch.instants(self._project.zone))

    def _rate_round(self, one_round: Sequence[Piece]) -> None:
        alike: dict[tuple[int, str | None], list[tuple[Piece, Metered | None]]] = defaultdict(list)
        for piece in one_round:
            try:
                self._check_fee_basis(piece)
                metered = self._metered(piece) if piece.metered else None
            except Unbillable as reason:
                self._failures.setdefault(piece.agreement.account_id, reason)
            else:
                alike[piece.version.id, piece.season].append((piece, metered))
        for group in alike.values():
            for rated in self._rate(group):
                agreement = rated.piece.agreement
                self._rated[agreement.account_id].append(rated)
                quantity = rated.metered.quantity if rated.metered else 0
                self._history[agreement.id].append(
                    Charged(agreement.id, rated.piece.period, quantity, rated.exact_amount)
                )

    def _check_fee_basis(self, piece: Piece) -> None:
        content = piece.version.content
        if content.currency != self._project.currency:
            raise Unbillable("other-currency", f"{piece.agreement.service}: the tariff is in {content.currency}")
        for part in content.components:
            if part.kind in ("demand", "capacity", "power_factor"):
                raise Unbillable("basis-unknown", f"{piece.agreement.service}: {part.code} has no {part.kind} to go by")
        if any(part.kind == "area" for part in content.components) and self._area(piece) <= 0:
            raise Unbillable("missing-area", f"{piece.agreement.service}: the unit has no billed area")

    def _metered(self, piece: Piece) -> Metered:
        agreement, service = piece.agreement, piece.agreement.service
        meter = self._meters.get(agreement.meter_id or 0)
        if meter is None:
            raise Unbillable("missing-meter", f"{service}: the agreement names no meter")
        if piece.version.content.periods is not None:
            raise Unbillable("periods-not-metered", f"{service}: tariffs by time of use are not billed from meters yet")
        start, end = piece.period.instants(self._project.zone)
        for doubt in self._doubtful[meter.id]:
            if doubt.from_at <= end and doubt.until_at >= start:
                raise Unbillable("open-exceptions", f"{service}: meter {meter.code} has an open finding: {doubt.rule}")
        ends = [self._boundaries.get((meter.id, at)) for at in (start, end)]
        for day, found in zip((piece.period.start, piece.period.end), ends, strict=True):
            if found is None:
                raise Unbillable(
                    "missing-reading", f"{service}: meter {meter.code} has no reading at the start of {day}"
                )
        opening, closing = ends
        assert opening is not None
        assert closing is not None
        usage = self._usage[self._usage_key(piece, piece.period)]
        if not usage.complete:
            raise Unbillable(
                "incomplete-usage", f"{service}: usage of meter {meter.code} is not complete in {piece.period}"
            )
        counter = self._counters[meter.id]
        if usage.quantity != counter.advance(opening, closing):
            raise Unbillable(
                "usage-not-settled", f"{service}: readings of meter {meter.code} came that usage does not show yet"
            )
        opening, closing = (
            self._cited.get((meter.id, service, day), found)
            for day, found in ((piece.period.start, opening), (piece.period.end, closing))
        )
        quantity = counter.advance(opening, closing)
        if quantity is None or quantity < 0:
            raise Unbillable(
                "bills-overlap", f"{service}: neighbouring bills of meter {meter.code} cover {piece.period} already"
            )
        return Metered(meter, opening, closing, quantity, self._before(piece))

    def _before(self, piece: Piece) -> int:
        """Usage of the window before the piece: what was billed, and of the rest what was metered."""
        billed = sum(charged.quantity for charged in self._earlier(piece))
        return billed + sum(
            self._usage[self._usage_key(piece, stretch)].quantity for stretch in self._unbilled_before(piece)
        )

    def _unbilled_before(self, piece: Piece, planned: Sequence[Period] = ()) -> list[Period]:
        """Stretches of the window before the piece, as far as its agreement goes, that no bill covers."""
        billed = [charged.period for charged in self._earlier(piece)]
        start, stretches = max(piece.window.start, piece.agreement.valid_from), []
        for period in sorted([*billed, *planned, piece.period], key=lambda period: period.start):
            if start < period.start <= piece.period.start:
                stretches.append(Period(start, period.start))
            start = max(start, period.end)
        return stretches

    def _earlier(self, piece: Piece) -> list[Charged]:
        window = piece.window
        return [
            charged
            for charged in self._history[piece.agreement.id]
            if window.start <= charged.period.start and charged.period.end <= piece.period.start
        ]

    def _rate(self, group: Sequence[tuple[Piece, Metered | None]]) -> Iterable[RatedPiece]:
        """All pieces of one tariff version and season at once."""
        content = group[0][0].version.content
        minor = Decimal(1).scaleb(-minor_digits(content.currency))
        carries = [
            sum((charged.exact_amount for charged in self._earlier(piece)), Decimal(0)) % minor for piece, _ in group
        ]
        prepared = plan(content, group[0][0].season, max(map(places, carries)))
        parts = [piece.window_parts for piece, _ in group]
        usages = Usages(
            quantity=[[metered.quantity for _, metered in group if metered]] if content.energy else [],
            before=[metered.before if metered else 0 for _, metered in group],
            steps=[
                prepared.household_steps(self._household(piece)) * covered
                for (piece, _), (covered, _) in zip(group, parts, strict=True)
            ],
            covered=[covered for covered, _ in parts],
            whole=[whole for _, whole in parts],
            area=[int(self._area(piece).scaleb(AREA_EXPONENT)) for piece, _ in group],
            days=[piece.period.days for piece, _ in group],
            months=[piece.months for piece, _ in group],
            begun=[piece.begun_months for piece, _ in group],
            carry=[int(carry.scaleb(prepared.places)) for carry in carries],
        )
        rated = rate_batch(prepared, usages, len(group))
        for n, (piece, metered) in enumerate(group):
            yield RatedPiece(
                piece=piece,
                metered=metered,
                persons=self._household(piece),
                area=self._area(piece),
                carry=carries[n],
                lines=explain(rated, n),
                amount=total(rated, n),
                exact_amount=exact(rated, n),
            )

    def _unit_id(self, piece: Piece) -> int | None:
        account = self._accounts.get(piece.agreement.account_id)
        return piece.agreement.unit_id or (account.unit_id if account else None)

    def _household(self, piece: Piece) -> int:
        return self._persons[piece.period.start].get(self._unit_id(piece) or 0, 0)

    def _area(self, piece: Piece) -> Decimal:
        unit = self._units.get(self._unit_id(piece) or 0)
        return unit.area if unit is not None and unit.area is not None else Decimal(0)


def reading_inputs(reading: BoundaryReading) -> dict[str, datetime | int]:
    """A boundary reading as a bill cites it."""
    return {"taken_at": reading.taken_at, "value": reading.value, "quality": reading.quality}
