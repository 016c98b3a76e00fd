"""REST: rules of apportionment, previews, settled runs and their shares."""

from datetime import UTC, date, datetime
from typing import Annotated

from fastapi import Query

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Input, Listed, ListQuery, PageQuery
from cloud.kit.periods import local_day
from cloud.kit.routing import rest_router
from cloud.metering.apportionment import service
from cloud.metering.apportionment.models import (
    OwnShareOut,
    PreviewOut,
    PreviewQuery,
    RuleEnd,
    RuleIn,
    RuleOut,
    RunOut,
    ShareOut,
)
from cloud.metering.apportionment.records import Rule

router = rest_router("metering")

ReadingUsage = Annotated[Scope, allow("usage.read")]
WritingMeters = Annotated[Scope, allow("meters.write")]


class UnitQuery(Input):
    """Of which project and unit; to a resident only his own."""

    project_id: Id | None = None
    unit_id: Id | None = None


@router.get("/apportionment-rules")
async def list_rules(scope: ReadingUsage, query: Annotated[ListQuery, Query()]) -> Listed[RuleOut]:
    """Rules by id."""
    page = await service.list_rules(scope.conn, query.page(), query.project_id)
    return Listed(items=[RuleOut.of(rule) for rule in page.items], next_cursor=page.next_cursor)


@router.post("/apportionment-rules", status_code=201)
async def create_rule(body: RuleIn, scope: WritingMeters, once: Once) -> RuleOut:
    """A new rule."""

    async def make() -> RuleOut:
        return RuleOut.of(await service.create_rule(scope.conn, body.project_id, body.new_rule()))

    return await once.answer(scope.conn, RuleOut, make)


@router.get("/apportionment-rules/{rule_id}")
async def get_rule(scope: ReadingUsage, rule_id: Id) -> RuleOut:
    """One rule."""
    return RuleOut.of(await service.get_rule(scope.conn, rule_id))


@router.patch("/apportionment-rules/{rule_id}")
async def end_rule(body: RuleEnd, scope: WritingMeters, rule_id: Id) -> RuleOut:
    """Lets a rule hold up to, not including, a day."""
    return RuleOut.of(await service.end_rule(scope.conn, rule_id, body.valid_until))


@router.get("/apportionment-rules/{rule_id}/preview")
async def preview(scope: WritingMeters, rule_id: Id, query: Annotated[PreviewQuery, Query()]) -> PreviewOut:
    """What settling local days [from, to) now would come to, and how it differs from the newest version."""
    today = await _today(scope, await service.get_rule(scope.conn, rule_id))
    made = await service.preview(scope.conn, rule_id, query.period(), today, estimate=query.estimate)
    return PreviewOut.of(made)


@router.post("/apportionment-rules/{rule_id}/runs", status_code=201)
async def settle(body: PreviewQuery, scope: WritingMeters, rule_id: Id, once: Once) -> RunOut:
    """Keeps the shares of a period; where nothing changed since, the newest version. Refused while usage of a meter
    is not settled, unless `estimate` asks for it."""

    async def make() -> RunOut:
        rule = await service.get_rule(scope.conn, rule_id)
        run = await service.settle(
            scope.conn, rule_id, body.period(), await _today(scope, rule), scope.caller.actor,
            estimate=body.estimate,
        )  # fmt: skip
        return RunOut.of(run, rule.channel)

    return await once.answer(scope.conn, RunOut, make)


@router.get("/apportionment-rules/{rule_id}/runs")
async def list_runs(scope: ReadingUsage, rule_id: Id, query: Annotated[PageQuery, Query()]) -> Listed[RunOut]:
    """Settled versions, newest first."""
    rule = await service.get_rule(scope.conn, rule_id)
    page = await service.list_runs(scope.conn, rule_id, query.page())
    return Listed(items=[RunOut.of(run, rule.channel) for run in page.items], next_cursor=page.next_cursor)


@router.get("/apportionment-runs/{run_id}/shares")
async def list_shares(scope: ReadingUsage, run_id: Id) -> Listed[ShareOut]:
    """Shares of a run by unit, adding up to its amount; to a resident only his own."""
    run = await service.get_run(scope.conn, run_id)
    channel = (await service.get_rule(scope.conn, run.rule_id)).channel
    shares = await service.shares_of_run(scope.conn, run_id)
    return Listed(items=[ShareOut.of(share, channel) for share in shares], next_cursor=None)


@router.get("/apportionment-shares")
async def shares_of_unit(scope: ReadingUsage, query: Annotated[UnitQuery, Query()]) -> Listed[OwnShareOut]:
    """The newest versions of what units were given, with what explains each; the hundred newest."""
    units = None if query.unit_id is None else [query.unit_id]
    found = await service.shares_of_units(scope.conn, units, query.project_id)
    return Listed(items=[OwnShareOut.of(own) for own in found], next_cursor=None)


async def _today(scope: Scope, rule: Rule) -> date:
    return local_day(datetime.now(UTC), (await estate.get_project(scope.conn, rule.project_id)).zone)
