"""Leaks: water that flows when nobody draws any. What each water meter's nights come down to."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cloud.kit.db import Conn
from cloud.metering.checks.subjects_repository import load_thresholds
from cloud.metering.records import MAIN_CHANNEL, Meter
from cloud.metering.supervision import leaks_repository as repository
from cloud.metering.supervision.leaks_repository import NightFlow
from cloud.metering.validation.thresholds import Thresholds

NIGHT: Final = (time(2), time(5))
"""Hours of local time in which homes draw least."""
RANKED_NIGHTS: Final = 7
SHOWN_NIGHTS: Final = 30

_STREAK_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Streak:
    """How long water has flowed: measured hours since the last still one; estimates neither end it nor count.

    `warned_after_h`: so long without a still hour is taken for a leak (`flow_hours` of the thresholds).
    """

    hours: int
    warned_after_h: int

    @property
    def is_warned(self) -> bool:
        """Whether that is too long."""
        return self.hours >= self.warned_after_h


@dataclass(frozen=True, slots=True)
class Suspect:
    """A water meter with the smallest of its hourly flows in the ranked nights, in mL/h, and its flow until now."""

    meter: NightFlow
    streak: Streak


def nights(until: date, count: int, zone: ZoneInfo) -> list[tuple[date, datetime, datetime]]:
    """The nights of the last `count` local days up to `until`, the oldest first: day, beginning and end."""
    days = [until - timedelta(days=n) for n in reversed(range(count))]
    return [(day, datetime.combine(day, NIGHT[0], zone), datetime.combine(day, NIGHT[1], zone)) for day in days]


async def ranking(conn: Conn, project_id: int, until: date, zone: ZoneInfo, limit: int) -> list[Suspect]:
    """Water meters by their minimum night flow, the largest first.

    Those without a measured night are left out, and those up to the bound of their thresholds (`night_flow`).
    """
    wanted = nights(until, RANKED_NIGHTS, zone)
    thresholds = await load_thresholds(conn, await repository.water_meters(conn, project_id))
    bounds = {meter_id: one.night_flow for meter_id, one in thresholds.items()}
    found = await repository.night_flows(
        conn, bounds, MAIN_CHANNEL["water"].number, [one[1] for one in wanted], [one[2] for one in wanted], limit
    )
    mine = {one.meter_id: thresholds[one.meter_id] for one in found}
    streaks = await _streaks(conn, mine, wanted[-1][2])
    return [Suspect(one, streaks[one.meter_id]) for one in found]


async def nights_of(conn: Conn, meter: Meter, until: date, zone: ZoneInfo) -> list[tuple[date, int | None]]:
    """The minimum hourly flow (mL/h) of each of the last 30 nights; None where an hour of it is not measured."""
    wanted = nights(until, SHOWN_NIGHTS, zone)
    flows = await repository.nights_of_meter(
        conn, meter.id, meter.main_channel.number, [one[1] for one in wanted], [one[2] for one in wanted]
    )
    return list(zip((one[0] for one in wanted), flows, strict=True))


async def streaks_of(conn: Conn, meter_ids: Collection[int], now: datetime) -> dict[int, Streak]:
    """For how long water has flowed through each meter without a still hour; meters that are not seen are absent."""
    return await _streaks(conn, await load_thresholds(conn, meter_ids), now)


async def _streaks(conn: Conn, thresholds: Mapping[int, Thresholds], now: datetime) -> dict[int, Streak]:
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=_STREAK_DAYS)
    bounds = {meter_id: one.night_flow for meter_id, one in thresholds.items()}
    found = await repository.streaks(conn, bounds, MAIN_CHANNEL["water"].number, since)
    return {meter_id: Streak(found.get(meter_id, 0) // 3600, one.flow_hours) for meter_id, one in thresholds.items()}
