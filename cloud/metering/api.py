"""REST: meters, their readings and usage, and which device carries which."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router, take_in
from cloud.metering import service
from cloud.metering.apportionment import api as apportionment_api
from cloud.metering.assets import api as asset_api
from cloud.metering.consumption import comparison_api, selection_api
from cloud.metering.exceptions import api as exception_api
from cloud.metering.imports import api as import_api
from cloud.metering.live import api as live_api
from cloud.metering.manual import api as manual_api
from cloud.metering.models import (
    BindingIn,
    BindingOut,
    MeterIn,
    MeterOut,
    MeterQuery,
    ReadingOut,
    ReadingQuery,
    UsageOut,
    UsageQuery,
    channel_number,
)
from cloud.metering.readings import placed_api as placed_readings_api
from cloud.metering.supervision import api as supervision_api
from cloud.metering.unusable import api as unusable_api

router = rest_router("metering")
take_in(
    router,
    asset_api.router,
    apportionment_api.router,
    supervision_api.router,
    selection_api.router,
    comparison_api.router,
    placed_readings_api.router,
    exception_api.router,
    manual_api.router,
    import_api.router,
    unusable_api.router,
    live_api.router,
)

ReadingMeters = Annotated[Scope, allow("meters.read")]
WritingMeters = Annotated[Scope, allow("meters.write")]
ReadingReadings = Annotated[Scope, allow("readings.read")]
ReadingUsage = Annotated[Scope, allow("usage.read")]

_FIRST = datetime(2000, 1, 1, tzinfo=UTC)
_LAST = datetime(2100, 1, 1, tzinfo=UTC)


@router.get("/meters")
async def list_meters(scope: ReadingMeters, query: Annotated[MeterQuery, Query()]) -> Listed[MeterOut]:
    """Meters by id."""
    page = await service.list_meters(scope.conn, query.page(), query.project_id, query.wanted())
    return Listed(items=[MeterOut.of(meter) for meter in page.items], next_cursor=page.next_cursor)


@router.post("/meters", status_code=201)
async def create_meter(body: MeterIn, scope: WritingMeters, once: Once) -> MeterOut:
    """A new meter."""

    async def make() -> MeterOut:
        return MeterOut.of((await service.create_meters(scope.conn, body.project_id, [body.new()]))[0])

    return await once.answer(scope.conn, MeterOut, make)


@router.get("/meters/{meter_id}")
async def get_meter(scope: ReadingMeters, meter_id: Id) -> MeterOut:
    """One meter."""
    return MeterOut.of(await service.get_meter(scope.conn, meter_id))


@router.get("/meters/{meter_id}/readings")
async def list_readings(
    scope: ReadingReadings, meter_id: Id, query: Annotated[ReadingQuery, Query()]
) -> Listed[ReadingOut]:
    """Readings of one channel, newest first."""
    meter = await service.get_meter(scope.conn, meter_id)
    page = await service.list_readings(
        scope.conn, query.page(), meter.id, query.number(meter), query.start or _FIRST, query.end or _LAST
    )
    return Listed(items=[ReadingOut.of(reading) for reading in page.items], next_cursor=page.next_cursor)


@router.get("/meters/{meter_id}/usage")
async def usage(scope: ReadingUsage, meter_id: Id, query: Annotated[UsageQuery, Query()]) -> UsageOut:
    """Usage in parts of hours, hours, days or months of the project's time zone; what is not known is null, never 0."""
    meter = await service.get_meter(scope.conn, meter_id)
    project = await estate.get_project(scope.conn, meter.project_id)
    number = channel_number(query.channel, meter)
    bars = await service.usage_series(scope.conn, meter.id, query.period(), query.step, project.zone, number)
    return UsageOut.of(meter, number, query.step, project.time_zone, bars)


@router.post("/device-bindings", status_code=201)
async def bind(body: BindingIn, scope: WritingMeters, once: Once) -> BindingOut:
    """Binds a device to a meter; readings that wait for it are claimed at once by a job."""

    async def make() -> BindingOut:
        await service.get_meter(scope.conn, body.meter_id)
        binding_id = await devices.bind(scope.conn, body.device_id, body.meter_id, body.valid_from, body.valid_until)
        return BindingOut(id=binding_id, **body.model_dump())

    return await once.answer(scope.conn, BindingOut, make)
