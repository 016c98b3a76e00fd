"""The figures of the overview pages, gathered from the features' services."""

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from cloud.devices import service as devices
from cloud.devices.records import ONLINE_WITHIN
from cloud.estate.records import Project
from cloud.identity.caller import Caller
from cloud.kit.db import Conn
from cloud.kit.paging import Page, PageRequest, cut
from cloud.kit.periods import day_start, local_day, month_of, previous_month
from cloud.metering import service as metering
from cloud.metering.records import MAIN_CHANNEL, Medium
from cloud.parking import service as parking
from cloud.reports import repository
from cloud.reports.records import (
    Consumption,
    Exceptional,
    HourUsage,
    LotState,
    MeterFilter,
    MeterRow,
    MonthMoney,
    Overview,
)

_EXCEPTIONS_SHOWN = 8


async def overview(conn: Conn, caller: Caller, project: Project, now: datetime) -> Overview:
    """What the staff's first page shows of a project; only what `caller` may see there."""
    may_see_devices = caller.may("devices.read", project.id)
    return Overview(
        devices=await devices.device_counts(conn, project.id, now) if may_see_devices else None,
        consumption=await _consumption(conn, project, now) if caller.may("usage.read", project.id) else [],
        months=await _months(conn, project, now) if caller.may("bills.read", project.id) else [],
        lots=await _lots(conn, project.id) if caller.may("parking.read", project.id) else [],
        exceptions=await _exceptions(conn, caller, project.id),
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


async def _consumption(conn: Conn, project: Project, now: datetime) -> list[Consumption]:
    """Both days up to the last full hour: usage is known by the hour, and a fair comparison ends both alike."""
    until = now.replace(minute=0, second=0, microsecond=0)
    today, yesterday = (_day_starts(now, project.zone, back) for back in (0, 1))
    found = []
    for medium in await repository.media(conn, project.id):
        found.append(
            Consumption(
                medium,
                await metering.consumption(conn, project.id, medium, today, until),
                await metering.consumption(conn, project.id, medium, yesterday, yesterday + (until - today)),
            )
        )
    return found


def _day_starts(now: datetime, zone: ZoneInfo, days_back: int) -> datetime:
    return day_start(local_day(now, zone) - timedelta(days=days_back), zone)


async def _months(conn: Conn, project: Project, now: datetime) -> list[MonthMoney]:
    today = local_day(now, project.zone)
    periods = (month_of(today), previous_month(today))
    return [await repository.money(conn, project.id, period, project.currency) for period in periods]


async def _lots(conn: Conn, project_id: int) -> list[LotState]:
    return [
        LotState(one.lot.id, one.lot.name, one.inside, one.capacity)
        for one in await parking.cars_inside(conn, project_id)
    ]


async def _exceptions(conn: Conn, caller: Caller, project_id: int) -> list[Exceptional]:
    few = PageRequest(_EXCEPTIONS_SHOWN)
    found: list[Exceptional] = []
    if caller.may("devices.read", project_id):
        for letter in (await devices.list_dead_letters(conn, few, project_id)).items:
            if letter.replayed_at is None:
                found.append(
                    Exceptional(
                        "dead-letter", letter.received_at, letter.topic, f"{letter.reason}: {letter.detail}", letter.times
                    )
                )
        for waiting in (await devices.list_unclaimed(conn, few, project_id)).items:
            subject = f"{waiting.gateway_code}/{waiting.device_code}"
            detail = f"{waiting.channel_code}: {waiting.reason}"
            found.append(Exceptional("unclaimed", waiting.last_at, subject, detail, waiting.readings))
    if caller.may("bills.read", project_id):
        found += await repository.bill_failures(conn, project_id, _EXCEPTIONS_SHOWN)
    return sorted(found, key=lambda one: one.at, reverse=True)[:_EXCEPTIONS_SHOWN]
