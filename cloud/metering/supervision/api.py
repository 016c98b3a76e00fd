"""REST: losses of master meters, night flows of water meters, and the health of meters."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.identity.guards import Scope, allow
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.periods import local_day
from cloud.kit.routing import rest_router
from cloud.metering import service
from cloud.metering.records import MAIN_CHANNEL
from cloud.metering.supervision import leaks, losses, meter_health, set_aside
from cloud.metering.supervision.models import (
    HealthOut,
    HealthPage,
    HealthQuery,
    HealthTotalsOut,
    LossMonth,
    LossOut,
    LossQuery,
    NightOut,
    NightsOut,
    ProjectQuery,
    SetAsideMeterOut,
    SuspectOut,
)

router = rest_router("metering")

ReadingUsage = Annotated[Scope, allow("usage.read")]
ReadingMeters = Annotated[Scope, allow("meters.read")]
Mending = Annotated[Scope, allow("readings.write")]


@router.get("/losses")
async def list_losses(scope: ReadingUsage, query: Annotated[LossQuery, Query()]) -> Listed[LossOut]:
    """Every master meter with its balance over local days; below each master those that hang on it."""
    items = []
    for project in await _projects(scope.conn, query.project_id):
        period = query.period(local_day(datetime.now(UTC), project.zone))
        for medium in query.media():
            found = await losses.losses(scope.conn, project.id, medium, period, project.zone)
            items += [LossOut.of(one, MAIN_CHANNEL[medium]) for one in found]
    return Listed(items=items, next_cursor=None)


@router.get("/meters/{meter_id}/losses")
async def loss_trend(scope: ReadingUsage, meter_id: Id) -> Listed[LossMonth]:
    """The balance of a master meter in the last twelve whole months."""
    meter = await service.get_meter(scope.conn, meter_id)
    zone = (await estate.get_project(scope.conn, meter.project_id)).zone
    found = await losses.trend(scope.conn, meter, local_day(datetime.now(UTC), zone), zone)
    items = [
        LossMonth(month=month.start, loss=None if loss is None else LossOut.of(loss, meter.main_channel))
        for month, loss in found
    ]
    return Listed(items=items, next_cursor=None)


@router.get("/leaks")
async def list_leaks(scope: ReadingUsage, query: Annotated[ProjectQuery, Query()]) -> Listed[SuspectOut]:
    """Water meters by the smallest hourly flow of the last 7 nights (02:00 to 05:00), the largest first."""
    found = []
    for project in await _projects(scope.conn, query.project_id):
        today = local_day(datetime.now(UTC), project.zone)
        found += await leaks.ranking(scope.conn, project.id, today, project.zone, query.limit)
    found.sort(key=lambda one: (-one.meter.flow, one.meter.meter_id))
    return Listed(items=[SuspectOut.of(one) for one in found[: query.limit]], next_cursor=None)


@router.get("/meters/{meter_id}/night-flows")
async def night_flows(scope: ReadingUsage, meter_id: Id) -> NightsOut:
    """The last 30 nights of a water meter, and for how long it has flowed without a still hour."""
    meter = await service.get_meter(scope.conn, meter_id)
    if meter.medium != "water":
        raise InvalidInput("other-meter", "only water has night flows", field="meter_id")
    zone = (await estate.get_project(scope.conn, meter.project_id)).zone
    now = datetime.now(UTC)
    streaks = await leaks.streaks_of(scope.conn, [meter.id], now)
    nights = await leaks.nights_of(scope.conn, meter, local_day(now, zone), zone)
    return NightsOut(meter_id=meter.id, streak_h=streaks[meter.id].hours, items=[NightOut.of(*one) for one in nights])


@router.get("/meter-health")
async def list_health(scope: ReadingMeters, query: Annotated[HealthQuery, Query()]) -> HealthPage:
    """Meters in service by id, as their last 30 days show them; `only` leaves those with one kind of trouble."""
    wanted = query.wanted([project.id for project in await _projects(scope.conn, query.project_id)])
    now = datetime.now(UTC)
    page = await meter_health.health(scope.conn, query.page(), wanted, now)
    totals = await meter_health.totals(scope.conn, wanted, now)
    aside = await set_aside.of_meters(scope.conn, [row.id for row in page.items if row.set_aside])
    return HealthPage(
        items=[HealthOut.of(row, aside.get(row.id, [])) for row in page.items],
        next_cursor=page.next_cursor,
        totals=HealthTotalsOut.of(totals),
    )


@router.post("/meters/{meter_id}/attempts", status_code=201)
async def try_again(scope: Mending, meter_id: Id, once: Once) -> SetAsideMeterOut:
    """Has a meter that is set aside tried again within a minute; how that went its health tells."""

    async def make() -> SetAsideMeterOut:
        return SetAsideMeterOut.of(meter_id, await set_aside.try_now(scope.conn, meter_id))

    return await once.answer(scope.conn, SetAsideMeterOut, make)


async def _projects(conn: Conn, project_id: int | None) -> list[Project]:
    """The asker's projects, or the one that is wanted if it is his."""
    return [one for one in await estate.projects(conn) if project_id in (None, one.id)]
