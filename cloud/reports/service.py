"""The figures of the overview pages, gathered from the features' services."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.billing import service as billing
from cloud.billing.records import BillFilter
from cloud.devices import service as devices
from cloud.devices.records import ONLINE_WITHIN
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.estate.service import EstateFilter
from cloud.identity.caller import Caller
from cloud.kit.db import Conn
from cloud.kit.paging import MAX_LIMIT, Page, PageRequest, cut
from cloud.kit.periods import day_start, local_day, month_of, previous_month
from cloud.metering import service as metering
from cloud.metering.records import MAIN_CHANNEL, Medium, Meter
from cloud.parking import service as parking
from cloud.parking.records import SessionFilter
from cloud.reports import repository
from cloud.reports.exceptions import attention
from cloud.reports.records import (
    Consumption,
    Home,
    HourUsage,
    LotState,
    MeterFilter,
    MeterMonth,
    MeterRow,
    MonthMoney,
    Overview,
)

_EXCEPTIONS_SHOWN = 8
_STAYS_SHOWN = 5
_ALL = PageRequest(MAX_LIMIT)


async def overview(conn: Conn, caller: Caller, project: Project, now: datetime) -> Overview:
    """What the staff's first page shows of a project; only what `caller` may see there."""
    may_see_devices = caller.may("devices.read", project.id)
    return Overview(
        devices=await devices.device_counts(conn, project.id, now) if may_see_devices else None,
        consumption=await _consumption(conn, project, now) if caller.may("usage.read", project.id) else [],
        months=await _months(conn, project, now) if caller.may("bills.read", project.id) else [],
        lots=await _lots(conn, project.id) if caller.may("parking.read", project.id) else [],
        exceptions=await attention(conn, caller, project.id, _EXCEPTIONS_SHOWN),
    )


async def hours_of_two_days(
    conn: Conn, project: Project, medium: Medium, now: datetime
) -> tuple[list[HourUsage], list[HourUsage]]:
    """Usage by the hour of today and of yesterday (local days), in the medium's base unit."""
    channel = MAIN_CHANNEL[medium].number
    today = local_day(now, project.zone)
    start = day_start(today, project.zone)
    before = day_start(today - timedelta(days=1), project.zone)
    return (
        await repository.hours(conn, project.id, medium, channel, start, now),
        await repository.hours(conn, project.id, medium, channel, before, start),
    )


async def media(conn: Conn, project_id: int) -> list[Medium]:
    """The media that a project has meters for."""
    return await repository.media(conn, project_id)


async def find_meters(conn: Conn, request: PageRequest, wanted: MeterFilter, now: datetime) -> Page[MeterRow]:
    """Meters by id: by part of their number or place, building, unit, medium and state; with their last reading."""
    after = int(request.after[0]) if request.after else 0
    rows = await repository.meters(conn, wanted, after, request.limit + 1, now - ONLINE_WITHIN)
    page = cut(rows, request, lambda row: (row["id"],))
    latest = await metering.latest_readings(conn, [row["id"] for row in page.items])
    main = {medium: channel.number for medium, channel in MAIN_CHANNEL.items()}
    found = [
        MeterRow(
            **row,
            reading=next((one for one in latest.get(row["id"], []) if one.channel == main[row["medium"]]), None),
        )
        for row in page.items
    ]
    return Page(found, page.next_cursor)


async def meter_classes(conn: Conn, project_id: int) -> list[str]:
    """The classes that meters of a project are of."""
    return await repository.meter_classes(conn, project_id)


async def home(conn: Conn, project: Project, now: datetime) -> Home:
    """What a resident's first page shows; row-level security leaves only what is his."""
    units = (await estate.list_units(conn, _ALL, EstateFilter(project_id=project.id))).items
    meters = await metering.meters_of_units(conn, [unit.id for unit in units])
    newest = (await billing.list_bills(conn, PageRequest(1), BillFilter(project_id=project.id))).items
    sessions = await parking.list_sessions(conn, PageRequest(_STAYS_SHOWN), SessionFilter(project_id=project.id))
    gauges = [await billing.tier_gauge(conn, meter.id, now) for meter in meters]
    return Home(
        usage=[await _month_of_meter(conn, project, meter, now) for meter in meters],
        gauges=[gauge for gauge in gauges if gauge is not None],
        bill=await billing.get_bill(conn, newest[0].id) if newest else None,
        vehicles=list((await parking.list_vehicles(conn, _ALL, project.id)).items),
        sessions=list(sessions.items),
    )


async def _month_of_meter(conn: Conn, project: Project, meter: Meter, now: datetime) -> MeterMonth:
    today = local_day(now, project.zone)
    channel = meter.main_channel.number
    this_start, this_end = month_of(today).instants(project.zone)
    last_start, last_end = previous_month(today).instants(project.zone)
    this = await metering.usage_between(conn, meter.id, channel, this_start, this_end)
    last = await metering.usage_between(conn, meter.id, channel, last_start, last_end)
    return MeterMonth(meter, this.quantity, last.quantity)


async def _consumption(conn: Conn, project: Project, now: datetime) -> list[Consumption]:
    """Both days up to the last full hour: usage is known by the hour, and a fair comparison ends both alike."""
    until = now.replace(minute=0, second=0, microsecond=0)
    today, yesterday = (_day_starts(now, project.zone, back) for back in (0, 1))
    return [
        Consumption(
            medium,
            await metering.consumption(conn, project.id, medium, today, until),
            await metering.consumption(conn, project.id, medium, yesterday, yesterday + (until - today)),
        )
        for medium in await repository.media(conn, project.id)
    ]


def _day_starts(now: datetime, zone: ZoneInfo, days_back: int) -> datetime:
    return day_start(local_day(now, zone) - timedelta(days=days_back), zone)


async def _months(conn: Conn, project: Project, now: datetime) -> list[MonthMoney]:
    today = local_day(now, project.zone)
    periods = (month_of(today), previous_month(today))
    return [await repository.money(conn, project.id, period, project.currency) for period in periods]


async def _lots(conn: Conn, project_id: int) -> list[LotState]:
    return [
        LotState(one.lot.id, one.lot.name, one.standing, one.free, one.capacity)
        for one in await parking.cars_inside(conn, project_id)
    ]
