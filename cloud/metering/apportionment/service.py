"""Rules of apportionment: what a rule shares out in a period, among whom, and the versions that are settled."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import date
from itertools import pairwise

from cloud.estate import service as estate
from cloud.estate.records import Occupancy, Project, Unit
from cloud.estate.service import EstateFilter
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import Period
from cloud.metering import service
from cloud.metering.apportionment import repository
from cloud.metering.apportionment.records import NewRule, OwnShare, Preview, Rule, Run, Share, Unshared
from cloud.metering.apportionment.shares import NothingToShareBy, Participant, share_out
from cloud.metering.periods.estimates import estimated_usage
from cloud.metering.periods.repository import SpanUsage, UsageSpan, usage_of_spans

_OWN_SHOWN = 100
_ALL = PageRequest(100_000)

Stay = tuple[int, Period]
"""A unit and days in which the same people were in it."""


async def create_rule(conn: Conn, project_id: int, new: NewRule) -> Rule:
    """A new rule. Raises InvalidInput for what does not go together or is not of the project, Conflict (name)."""
    _check(new)
    if new.meter_id is not None:
        meter = await service.get_meter(conn, new.meter_id)
        if meter.project_id != project_id or meter.medium != new.medium:
            raise InvalidInput("other-meter", "the meter is of another project or medium", field="meter_id")
    units = await estate.units_by_id(conn, [one.unit_id for one in new.members])
    for one in new.members:
        if one.unit_id not in units or units[one.unit_id].project_id != project_id:
            raise InvalidInput("unknown-unit", f"project {project_id} has no unit {one.unit_id}", field="members")
    return await get_rule(conn, await repository.insert_rule(conn, project_id, new))


def _check(new: NewRule) -> None:
    if (new.shared == "fixed") != (new.quantity is not None):
        raise InvalidInput("bad-rule", "a quantity is given for what is fixed, and only then", field="quantity")
    if new.meter_id is None and (new.shared != "fixed" or new.participants == "sub-meters"):
        raise InvalidInput("bad-rule", "losses, usage and sub-meters need a meter", field="meter_id")
    if (new.participants == "building") != (new.building_id is not None):
        raise InvalidInput("bad-rule", "a building is given for its units, and only then", field="building_id")
    if new.basis == "share" and new.participants != "list":
        raise InvalidInput("bad-rule", "fixed shares need a list of units", field="basis")
    if new.valid.end is not None and new.valid.end <= new.valid.start:
        raise InvalidInput("bad-dates", "expected a day after the first", field="valid_until")


async def list_rules(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[Rule]:
    """Rules by id."""
    return cut(await repository.rules(conn, project_id, after_id(page), page.limit + 1), page, lambda row: (row.id,))


async def get_rule(conn: Conn, rule_id: int) -> Rule:
    """Raises NotFound."""
    found = await repository.rule(conn, rule_id)
    if found is None:
        raise NotFound("no-rule-of-sharing", f"there is no rule {rule_id}", field="rule_id")
    return found


async def end_rule(conn: Conn, rule_id: int, valid_until: date) -> Rule:
    """Lets the rule hold up to, not including, a day. Raises NotFound, InvalidInput."""
    rule = await get_rule(conn, rule_id)
    if valid_until <= rule.valid.start:
        raise InvalidInput("bad-dates", f"expected a day after {rule.valid.start}", field="valid_until")
    await repository.end_rule(conn, rule_id, valid_until)
    return replace(rule, valid=replace(rule.valid, end=valid_until))


async def preview(conn: Conn, rule_id: int, period: Period, today: date, *, estimate: bool = False) -> Preview:
    """What settling the period now would come to, and how it differs from the newest version.

    `estimate`: what is missing is estimated; otherwise only what is known counts and the meters that are not settled
    are named. Raises NotFound, InvalidInput (a period that is not over or in which the rule does not hold, no units,
    a unit without area, no weight at all).
    """
    rule = await get_rule(conn, rule_id)
    _must_hold(rule, period, today)
    project = await estate.get_project(conn, rule.project_id)
    stays = await _stays(conn, rule, period)
    counted = _Counted(conn, rule, project, estimate)
    found = await counted.shared(period)
    weights = await _weights(conn, rule, stays, counted)
    try:
        shared = share_out(found, weights)
    except NothingToShareBy as error:
        raise InvalidInput("no-weights", "no unit has any weight: there is nothing to share by") from error
    settled = await repository.newest_run(conn, rule_id, period)
    before = {} if settled is None else _by_stay(await repository.shares(conn, settled.id))
    counts = {one.key: one.counts for one in weights}
    shares = tuple(
        Share(
            key[0], date.fromordinal(key[1]), date.fromordinal(key[2]), counts[key], quantity,
            before.get((key[0], key[1])) if settled else None,
        )
        for key, quantity in shared.shares.items()
    )  # fmt: skip
    return Preview(
        rule, period, found, shared.amount, shared.total_weight, counted.estimated, tuple(sorted(counted.open)),
        shares, settled, {"rule": asdict(rule), "usage": counted.inputs},
    )  # fmt: skip


async def settle(conn: Conn, rule_id: int, period: Period, today: date, actor: str, *, estimate: bool = False) -> Run:
    """Keeps what `preview` shows as a new version; the newest one when it says the same already.

    Raises what `preview` raises; Conflict while usage of a meter is not settled, unless `estimate` asks for it, and
    when days of the period are settled in another one.
    """
    await get_rule(conn, rule_id)
    await repository.lock_rule(conn, rule_id)
    other = await repository.run_of_other_period(conn, rule_id, period)
    if other is not None:
        raise Conflict("overlap", f"run {other.id} settled {other.period} already", field="from", other_id=other.id)
    made = await preview(conn, rule_id, period, today, estimate=estimate)
    if made.open_meters and not estimate:
        raise Conflict("not-settled", f"usage of {len(made.open_meters)} meters is not settled in this period")
    if made.settled is not None and not made.is_changed:
        return made.settled
    version = 1 if made.settled is None else made.settled.version + 1
    return await get_run(conn, await repository.insert_run(conn, made, version, actor))


async def list_runs(conn: Conn, rule_id: int, page: PageRequest) -> Page[Run]:
    """Settled versions, newest first. Raises NotFound."""
    await get_rule(conn, rule_id)
    rows = await repository.runs(conn, rule_id, after_id(page, MAX_ID), page.limit + 1)
    return cut(rows, page, lambda row: (row.id,))


async def get_run(conn: Conn, run_id: int) -> Run:
    """Raises NotFound."""
    found = await repository.run(conn, run_id)
    if found is None:
        raise NotFound("no-such-run", f"there is no run {run_id}", field="run_id")
    return found


async def shares_of_run(conn: Conn, run_id: int) -> list[Share]:
    """Shares by unit; to a resident only his own. Raises NotFound."""
    await get_run(conn, run_id)
    return await repository.shares(conn, run_id)


async def unshared(conn: Conn, project_id: int) -> list[Unshared]:
    """Runs of a project whose shares do not add up to what was found: for the daily proof, empty when all is well."""
    return await repository.unshared(conn, project_id)


async def shares_of_units(
    conn: Conn, unit_ids: Collection[int] | None, project_id: int | None = None
) -> list[OwnShare]:
    """The newest versions of what these units (None: all) were given, newest period first, a hundred at most."""
    return await repository.shares_of_units(
        conn, None if unit_ids is None else sorted(set(unit_ids)), project_id, _OWN_SHOWN
    )


def _must_hold(rule: Rule, period: Period, today: date) -> None:
    if period.end > today:
        raise InvalidInput("bad-period", f"the period ends after {today}", field="to")
    if period.start < rule.valid.start or (rule.valid.end is not None and period.end > rule.valid.end):
        raise InvalidInput("bad-period", f"the rule holds from {rule.valid}", field="from")


def _by_stay(shares: Sequence[Share]) -> dict[tuple[int, int], int]:
    return {(share.unit_id, share.from_on.toordinal()): share.quantity for share in shares}


class _Counted:
    """Usage as a run counts it, and what it has to say about the meters it asked."""

    def __init__(self, conn: Conn, rule: Rule, project: Project, estimate: bool) -> None:
        self._conn = conn
        self._rule = rule
        self._zone = project.zone
        self._estimate = estimate
        self.open: set[int] = set()
        self.estimated = False
        self.inputs: list[dict[str, object]] = []

    async def shared(self, period: Period) -> int:
        """What there is to share out; below 0 when sub-meters count more than their master."""
        if self._rule.quantity is not None:
            return self._rule.quantity
        assert self._rule.meter_id is not None
        children = await repository.children(self._conn, self._rule.meter_id) if self._rule.shared == "loss" else []
        usage = await self.of([(meter, period) for meter in (self._rule.meter_id, *children)])
        return usage[0] - sum(usage[1:])

    async def of(self, wanted: Sequence[tuple[int, Period]]) -> list[int]:
        """Usage of each meter over its days."""
        channel = self._rule.channel.number
        spans = [(meter, channel, *period.instants(self._zone)) for meter, period in wanted]
        return [
            await self._one(span, found)
            for span, found in zip(spans, await usage_of_spans(self._conn, spans), strict=True)
        ]

    async def _one(self, span: UsageSpan, found: SpanUsage) -> int:
        quantity = found.quantity
        if not found.is_settled:
            self.open.add(span[0])
        if self._estimate and not found.is_complete:
            meter = await service.get_meter(self._conn, span[0])
            quantity = (await estimated_usage(self._conn, meter, *span[1:])).quantity
        self.estimated = self.estimated or (self._estimate and not found.is_settled)
        self.inputs.append(
            {
                "meter_id": span[0],
                "from": span[2],
                "to": span[3],
                "quantity": str(quantity),
                "settled": found.is_settled,
            }
        )
        return quantity


async def _stays(conn: Conn, rule: Rule, period: Period) -> list[Stay]:
    """Who takes part, unit by unit, cut where people moved in or out. Raises InvalidInput when nobody does."""
    members = {one.unit_id: one for one in await repository.members(conn, rule.id)}
    units = [
        unit
        for unit in await _units(conn, rule, members)
        if unit.kind not in rule.excluded_kinds and not (unit.id in members and members[unit.id].excluded)
    ]
    people: dict[int, list[Occupancy]] = {}
    for one in await estate.occupancies_between(conn, [unit.id for unit in units], period):
        if one.role != "family":
            people.setdefault(one.unit_id, []).append(one)
    stays = [
        (unit.id, stay)
        for unit in sorted(units, key=lambda unit: unit.id)
        for stay, occupied in _cut(period, people.get(unit.id, []))
        if occupied or not rule.only_occupied
    ]
    if not stays:
        raise InvalidInput("no-participants", "no unit takes part in this rule in this period")
    return stays


async def _units(conn: Conn, rule: Rule, members: Collection[int]) -> list[Unit]:
    if rule.participants == "building":
        wanted = EstateFilter(project_id=rule.project_id, building_id=rule.building_id)
        return list((await estate.list_units(conn, _ALL, wanted)).items)
    ids = set(members)
    if rule.participants == "sub-meters":
        assert rule.meter_id is not None
        meters = await service.meters_by_id(conn, await repository.children(conn, rule.meter_id))
        ids = {meter.unit_id for meter in meters.values() if meter.unit_id is not None}
    return list((await estate.units_by_id(conn, ids)).values())


def _cut(period: Period, people: Sequence[Occupancy]) -> Iterator[tuple[Period, bool]]:
    """The period in pieces with the same people in them, and whether there are any."""
    days = {period.start, period.end}
    for one in people:
        days |= {day for day in (one.valid.start, one.valid.end) if day is not None and period.start < day < period.end}
    ordered = sorted(days)
    for start, end in pairwise(ordered):
        yield Period(start, end), any(one.valid.contains(start) for one in people)


async def _weights(conn: Conn, rule: Rule, stays: Sequence[Stay], counted: _Counted) -> list[Participant]:
    """What each stay counts: area (1/100 m²), 1, or its fixed share, by days; or its own usage."""
    if rule.basis == "usage":
        return await _weights_by_usage(conn, rule, stays, counted)
    weight: dict[int, int] = dict.fromkeys((unit_id for unit_id, _ in stays), 1)
    if rule.basis == "area":
        for unit in (await estate.units_by_id(conn, weight)).values():
            if unit.area is None:
                raise InvalidInput("missing-area", f"unit {unit.label} has no billed area")
            weight[unit.id] = int(unit.area.scaleb(2))
    elif rule.basis == "share":
        weight = {one.unit_id: one.weight for one in await repository.members(conn, rule.id)}
    return [Participant(_key(stay), weight[stay[0]], stay[1].days) for stay in stays]


async def _weights_by_usage(conn: Conn, rule: Rule, stays: Sequence[Stay], counted: _Counted) -> list[Participant]:
    """Each stay weighs what the unit's meters of the medium counted in it; below a master only its sub-meters do."""
    meters = await service.meters_of_units(conn, [unit_id for unit_id, _ in stays])
    own = [one for one in meters if one.medium == rule.medium and one.id != rule.meter_id]
    if rule.participants == "sub-meters":
        own = [one for one in own if one.parent_id == rule.meter_id]
    wanted = [(stay, one.id) for stay in stays for one in own if one.unit_id == stay[0]]
    usage = await counted.of([(meter_id, stay[1]) for stay, meter_id in wanted])
    weight = dict.fromkeys(map(_key, stays), 0)
    for (stay, _), quantity in zip(wanted, usage, strict=True):
        weight[_key(stay)] += quantity
    return [Participant(key, counts) for key, counts in weight.items()]


def _key(stay: Stay) -> tuple[int, int, int]:
    return stay[0], stay[1].start.toordinal(), stay[1].end.toordinal()
