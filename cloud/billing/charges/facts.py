"""What the bills of a chunk follow from, read in bulk: readings, usage, households, earlier charges, findings."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from cloud.billing import repository
from cloud.billing.agreements import area_repository
from cloud.billing.agreements.rents import AreaStep
from cloud.billing.charges.doubts import Doubts
from cloud.billing.charges.filings import Filing
from cloud.billing.charges.limits import Cost, Stretch
from cloud.billing.charges.period_registers import RegisterFacts, beside, channels, is_plain
from cloud.billing.charges.pieces import Piece, Place, Unbillable
from cloud.billing.concessions import applying as conceding
from cloud.billing.concessions.applying import Concessions
from cloud.billing.concessions.reductions import Concession
from cloud.billing.estimates.estimating import (
    ABSENCES,
    CAUTIOUS,
    EstimatePolicy,
    Recent,
    in_a_row,
    recent_charges,
    why_not_measured,
)
from cloud.billing.records import Charged, Cited
from cloud.estate import service as estate
from cloud.estate.calendar import calendar
from cloud.estate.records import Account, Project, Unit
from cloud.kit.calendars import DayType
from cloud.kit.db import Conn
from cloud.kit.periods import Period, day_start
from cloud.metering import service as metering
from cloud.metering.periods.advances import Counter
from cloud.metering.periods.estimates import Asked, EstimatedUsage, estimated_usages
from cloud.metering.periods.loads import Loads, loads
from cloud.metering.periods.stretches import Stretches, usage_by_stretch
from cloud.metering.records import BoundaryReading, Meter, MeterException, UsageTotal
from cloud.metering.service import UsageKey
from cloud.tariffs.model.hours import Run, runs


class Facts:
    """Everything that is asked of the database for some pieces, once; grows only by what is rated meanwhile."""

    def __init__(self, conn: Conn, project: Project, policy: EstimatePolicy = CAUTIOUS) -> None:
        self._conn = conn
        self.project = project
        self.policy = policy
        self._accounts: dict[int, Account] = {}
        self._units: dict[int, Unit] = {}
        self._filings: dict[int, list[Filing]] = defaultdict(list)
        self._usage: dict[UsageKey, UsageTotal] = {}
        self._areas: dict[int, tuple[AreaStep, ...] | None] = {}
        self._concessions = Concessions()
        self._history: dict[int, list[Charged]] = defaultdict(list)
        self._doubts = Doubts(project)
        self._runs: dict[tuple[int, Period], list[Run]] = {}
        self._stretches: dict[tuple[int, Period, int], Stretches] = {}
        self._loads: dict[tuple[Period, int], Loads] = {}
        self.registers = RegisterFacts()
        self.meters: dict[int, Meter] = {}
        self.boundaries: dict[tuple[int, datetime], BoundaryReading] = {}
        self.counters: dict[int, Counter] = {}
        self.cited: dict[tuple[int, str, date], BoundaryReading] = {}
        """By meter, service and day: a charge begins with the reading that its neighbour ended with, and ends with
        the one that its neighbour begins with, even where a better one came since. So nothing between two readings
        is billed twice or never."""
        self._open_ends: set[tuple[int, str, date]] = set()
        """Likewise, where the neighbour was estimated and cites none."""
        self.billed: dict[Place, Mapping[str, Any]] = {}
        """By agreement and first day: inputs of charges by estimate that are rated again."""
        self.costs: Mapping[Stretch, Cost] = {}
        """What charges count for the limits that they share, where it is not what they are rated at."""
        self._lacking: dict[Place, Unbillable] = {}
        self._estimates: dict[Place, EstimatedUsage] = {}
        self._recent: dict[int, list[Recent]] = {}

    async def load(self, everything: Sequence[Piece]) -> None:
        """Reads what all these pieces need."""
        if not everything:
            return
        conn, zone = self._conn, self.project.zone
        self._accounts = await estate.accounts_by_id(conn, sorted({piece.agreement.account_id for piece in everything}))
        self._units = await estate.units_by_id(conn, sorted(set(filter(None, map(self.unit_id, everything)))))
        meter_ids = sorted({piece.agreement.meter_id for piece in everything if piece.agreement.meter_id is not None})
        self.meters = await metering.meters_by_id(conn, meter_ids)
        wanted = {
            (meter_id, day_start(day, zone))
            for piece in everything
            if piece.metered and (meter_id := piece.agreement.meter_id) is not None
            for day in (piece.period.start, piece.period.end)
        }
        self.boundaries = await metering.boundary_readings(conn, sorted(wanted))
        windows = [piece.window for piece in everything]
        span = Period(min(window.start for window in windows), max(piece.period.end for piece in everything))
        for filed in await estate.households_between(conn, list(self._units), span):
            self._filings[filed.unit_id].append(Filing(filed.valid.start, filed.valid.end, filed.persons))
        agreements = {piece.agreement.id: piece.agreement for piece in everything}
        await self.areas(agreements)
        self._concessions = await conceding.load(conn, agreements.values(), self._units, span)
        for charged in await repository.charged(conn, sorted({piece.agreement.id for piece in everything}), span):
            self.remember(charged)
        await self._load_usage(everything, meter_ids)
        await self.registers.load(conn, zone, everything, self.cite)
        await self._load_time_of_use(everything)
        await self._load_loads(everything)
        await self._load_estimates(everything)

    async def areas(self, agreement_ids: Iterable[int]) -> Mapping[int, tuple[AreaStep, ...] | None]:
        """The floor areas that agreements go by, read once; None where none is known."""
        missing = sorted(set(agreement_ids) - self._areas.keys())
        if missing:
            self._areas |= dict.fromkeys(missing) | await area_repository.of_agreements(self._conn, missing)
        return self._areas

    async def _load_usage(self, everything: Sequence[Piece], meter_ids: Sequence[int]) -> None:
        """Usage of the pieces and of what lies unbilled before them, and the readings that other charges cite."""
        metered = [piece for piece in everything if piece.metered and piece.agreement.meter_id in self.meters]
        planned: dict[int, list[Period]] = defaultdict(list)
        for piece in metered:
            planned[piece.agreement.id].append(piece.period)
        keys = [
            self._usage_key(piece, stretch, channel)
            for piece in metered
            for stretch in [piece.period, *self._unbilled_before(piece, planned[piece.agreement.id])]
            for channel in (None, *beside(piece))
        ]
        self._usage = await metering.usage_between_many(self._conn, keys)
        span = Period(min(piece.period.start for piece in everything), max(piece.period.end for piece in everything))
        instants = span.instants(self.project.zone)
        self.counters = await metering.counters(self._conn, meter_ids, *instants)
        if self.policy.open_exceptions != "bill":
            await self._doubts.load(self._conn, metered, *instants)
        for cited in await repository.cited(self._conn, meter_ids, span):
            self.cite(cited)

    async def _load_time_of_use(self, everything: Sequence[Piece]) -> None:
        """Usage by the runs of price periods, for tariffs that have a schedule."""
        groups: dict[tuple[int, Period], list[Piece]] = defaultdict(list)
        for piece in everything:
            periods = piece.version.content.periods
            by_intervals = piece.time_of_use == "intervals" and periods is not None and periods.schedule
            if by_intervals and piece.agreement.meter_id in self.meters:
                groups[piece.version.id, piece.period].append(piece)
        for (version_id, period), pieces in groups.items():
            periods = pieces[0].version.content.periods
            assert periods is not None
            calendar_days: dict[date, DayType] = dict(await calendar(self._conn, self.project.id, period))
            found = runs(periods, pieces[0].season, calendar_days, period, self.project.zone)
            self._runs[version_id, period] = found
            edges = [*(run.start for run in found), day_start(period.end, self.project.zone)]
            by_channel: dict[int, list[int]] = defaultdict(list)
            for piece in pieces:
                meter = self.meters[piece.agreement.meter_id or 0]
                by_channel[meter.main_channel.number].append(meter.id)
            for channel, meter_ids in by_channel.items():
                for meter_id, usage in (await usage_by_stretch(self._conn, meter_ids, channel, edges)).items():
                    self._stretches[version_id, period, meter_id] = usage

    async def _load_loads(self, everything: Sequence[Piece]) -> None:
        """Loads of the meters whose tariffs ask for them."""
        groups: dict[Period, list[int]] = defaultdict(list)
        for piece in everything:
            kinds = {part.kind for part in piece.version.content.components}
            if kinds & {"demand", "power_factor"} and piece.agreement.meter_id in self.meters:
                groups[piece.period].append(piece.agreement.meter_id)
        for period, meter_ids in groups.items():
            for meter_id, found in (await loads(self._conn, meter_ids, *period.instants(self.project.zone))).items():
                self._loads[period, meter_id] = found

    async def _load_estimates(self, everything: Sequence[Piece]) -> None:
        """Estimates of what readings cannot tell, all at once."""
        for piece in everything:
            if piece.metered and piece.agreement.meter_id in self.meters:
                reason = why_not_measured(piece, self)
                if reason is not None:
                    self._lacking[piece.place] = reason
        wanted = [
            piece
            for piece in everything
            if (reason := self.why_not_measured(piece)) is not None and self.may_estimate(piece, reason.code)
        ]
        self._recent = await recent_charges(self._conn, sorted({piece.agreement.id for piece in wanted}))
        found = await estimated_usages(self._conn, [self._asked(piece) for piece in wanted])
        self._estimates |= {piece.place: one for piece, one in zip(wanted, found, strict=True)}

    def _asked(self, piece: Piece) -> Asked:
        meter = self.meters[piece.agreement.meter_id or 0]
        runs = self._runs.get((piece.version.id, piece.period), ())
        return Asked(
            meter,
            meter.main_channel.number,
            *piece.period.instants(self.project.zone),
            edges=tuple(run.start for run in runs[1:]),
            doubted=tuple((doubt.from_at, doubt.until_at) for doubt in self.doubts(piece)),
        )

    def why_not_measured(self, piece: Piece) -> Unbillable | None:
        """Why its usage cannot be billed by readings; None where it can."""
        return self._lacking.get(piece.place)

    def may_estimate(self, piece: Piece, reason: str) -> bool:
        """Whether the quantity of the piece may be estimated, which for this reason cannot be billed by readings.

        What was estimated once may be again. Registers are not: nothing tells how an estimate divides into periods.
        """
        if piece.time_of_use == "registers":
            return False
        if piece.place in self.billed:
            return True
        if reason == "open-exceptions":
            return self.policy.open_exceptions == "estimate"
        if self.policy.is_ahead(piece):
            return False
        return self.policy.missing_readings == "estimate" or self.goes_on(piece)

    def goes_on(self, piece: Piece) -> bool:
        """Whether it only lacks readings where a neighbour was estimated, which none will ever come for.

        What was counted across that day is shared out between the two, so that nothing is billed twice or never.
        """
        meter, service = piece.agreement.meter_id or 0, piece.agreement.service
        lacks = [
            day
            for day, found in zip((piece.period.start, piece.period.end), self.ends(piece), strict=True)
            if found is None
        ]
        return self.usage(piece).complete and all((meter, service, day) in self._open_ends for day in lacks)

    def estimate(self, piece: Piece) -> EstimatedUsage | None:
        """The estimate that was made of its usage, if it may be."""
        return self._estimates.get(piece.place)

    def as_billed(self, piece: Piece) -> Mapping[str, Any] | None:
        """What a bill by estimate goes on standing on until readings bound it: the inputs of its charge."""
        found, inputs = self.estimate(piece), self.billed.get(piece.place)
        return inputs if found is not None and (found.open_s or self.doubts(piece)) else None

    def estimated_before(self, piece: Piece) -> int:
        """How many bills in a row directly before it rest on open estimates."""
        return in_a_row(self._recent.get(piece.agreement.id, ()), piece.period.start)

    def cite(self, cited: Cited) -> None:
        """What a neighbouring charge cites."""
        place = cited.meter_id, cited.service
        for day, at, value in (
            (cited.period.start, cited.opening_at, cited.opening_value),
            (cited.period.end, cited.closing_at, cited.closing_value),
        ):
            if at is not None and value is not None:
                self.cited[(*place, day)] = BoundaryReading(at, value, 0)
            elif cited.estimated:
                self._open_ends.add((*place, day))
        self.registers.cite(cited)

    def remember(self, charged: Charged) -> None:
        """What the database holds of earlier charges."""
        self.add(charged)

    def add(self, charged: Charged) -> None:
        """What was charged, now or earlier: later pieces of the window build on it."""
        self._history[charged.agreement_id].append(charged)

    def doubts(self, piece: Piece) -> list[MeterException]:
        """Open findings about the readings of its meter that stop it from being billed by them.

        Where missing readings are or were estimated, a finding that tells of them is no doubt; where doubts are, only
        those about what is billed count.
        """
        meter = self.meters[piece.agreement.meter_id or 0]
        found = self._doubts.of(piece)
        was_estimated = piece.place in self.billed
        if was_estimated or self.policy.missing_readings == "estimate":
            found = [doubt for doubt in found if doubt.rule not in ABSENCES]
        if not is_plain(piece):
            # Validation takes it that all registers of periods make the total; what is agreed is checked instead.
            found = [doubt for doubt in found if doubt.rule != "register-sum"]
        if self.policy.open_exceptions == "estimate":
            billed = {meter.main_channel.number, *channels(piece)}
            found = [doubt for doubt in found if doubt.channel in billed]
        return found

    def ends(self, piece: Piece) -> tuple[BoundaryReading | None, BoundaryReading | None]:
        """The readings at both ends of a metered piece, as far as there are any."""
        meter_id = piece.agreement.meter_id or 0
        start, end = piece.period.instants(self.project.zone)
        return self.boundaries.get((meter_id, start)), self.boundaries.get((meter_id, end))

    def usage(self, piece: Piece) -> UsageTotal:
        """What usage shows of the piece."""
        return self._usage[self._usage_key(piece, piece.period)]

    def runs(self, piece: Piece) -> list[Run]:
        """The runs of price periods within the piece; its tariff has a schedule."""
        return self._runs[piece.version.id, piece.period]

    def stretches(self, piece: Piece) -> Stretches:
        """Usage of the piece by its runs."""
        return self._stretches[piece.version.id, piece.period, piece.agreement.meter_id or 0]

    def loads(self, piece: Piece) -> Loads | None:
        """Loads of the meter of the piece; None where its tariff asks for none."""
        return self._loads.get((piece.period, piece.agreement.meter_id or 0))

    def used_before(self, piece: Piece) -> int:
        """Usage of the window before the piece: what was billed, and of the rest what was metered."""
        billed = sum(charged.quantity for charged in self.earlier(piece))
        return billed + sum(
            self._usage[self._usage_key(piece, stretch, channel)].quantity
            for stretch in self._unbilled_before(piece)
            for channel in (None, *beside(piece))
        )

    def earlier(self, piece: Piece) -> list[Charged]:
        """What was charged of the window before the piece."""
        window = piece.window
        return [
            charged
            for charged in self._history[piece.agreement.id]
            if window.start <= charged.period.start and charged.period.end <= piece.period.start
        ]

    def _unbilled_before(self, piece: Piece, planned: Sequence[Period] = ()) -> list[Period]:
        """Stretches of the window before the piece, as far as its agreement goes, that no bill covers."""
        billed = [charged.period for charged in self.earlier(piece)]
        start, stretches = max(piece.window.start, piece.agreement.valid_from), []
        for period in sorted([*billed, *planned, piece.period], key=lambda period: period.start):
            if start < period.start <= piece.period.start:
                stretches.append(Period(start, period.start))
            start = max(start, period.end)
        return stretches

    def _usage_key(self, piece: Piece, stretch: Period, channel: int | None = None) -> UsageKey:
        """`channel`: the main channel of the meter unless another is named."""
        meter = self.meters[piece.agreement.meter_id or 0]
        return (meter.id, channel or meter.main_channel.number, *stretch.instants(self.project.zone))

    def unit_id(self, piece: Piece) -> int | None:
        """The unit that a piece is for: that of the agreement, else that of the account."""
        account = self._accounts.get(piece.agreement.account_id)
        return piece.agreement.unit_id or (account.unit_id if account else None)

    def filings(self, piece: Piece) -> list[Filing]:
        """Persons filed for the unit of the piece in its tier window, up to its end."""
        return self._filings.get(self.unit_id(piece) or 0, [])

    def area(self, piece: Piece) -> Decimal:
        """Billed area in square metres on the first day of the piece; 0 where none is known."""
        if piece.agreement.area is not None:
            return piece.agreement.area
        return area_repository.on(self._areas.get(piece.agreement.id) or (), piece.period.start)

    def concessions_for(self, piece: Piece) -> tuple[Concession, ...]:
        """Concessions that may take something off the piece, in their order."""
        return self._concessions.of(piece.agreement, self.unit_id(piece), piece.period)
