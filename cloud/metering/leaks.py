"""Leaks: water that flows when nobody draws any. What each water meter's nights come down to."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

from cloud.kit.db import Conn
from cloud.metering import leaks_repository as repository
from cloud.metering.leaks_repository import NightFlow
from cloud.metering.records import MAIN_CHANNEL, Meter

NIGHT: Final = (time(2), time(5))
"""Hours of local time in which homes draw least."""
RANKED_NIGHTS: Final = 7
SHOWN_NIGHTS: Final = 30
WARNED_AFTER_H: Final = 24
"""So long without a still hour is taken for a leak, as by the rule of validation."""

_STREAK_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class Suspect:
    """A water meter with the smallest of its hourly flows in the ranked nights, in mL/h.

    `streak_h`: measured hours with flow since the last one without; estimates neither end it nor count.
    """

    meter: NightFlow
    streak_h: int

    @property
    def is_warned(self) -> bool:
        """Whether it has flowed for a day without a still hour."""
        return self.streak_h >= WARNED_AFTER_H


def nights(until: date, count: int, zone: ZoneInfo) -> list[tuple[date, datetime, datetime]]:
    """The nights of the last `count` local days up to `until`, the oldest first: day, beginning and end."""
    days = [until - timedelta(days=n) for n in reversed(range(count))]
    return [(day, datetime.combine(day, NIGHT[0], zone), datetime.combine(day, NIGHT[1], zone)) for day in days]


async def ranking(conn: Conn, project_id: int, until: date, zone: ZoneInfo, limit: int) -> list[Suspect]:
    """Water meters by their minimum night flow, the largest first; those without a measured night are left out."""
    wanted = nights(until, RANKED_NIGHTS, zone)
    found = await repository.night_flows(
        conn, project_id, MAIN_CHANNEL["water"].number, [one[1] for one in wanted], [one[2] for one in wanted], limit
    )
    streaks = await _streaks(conn, [one.meter_id for one in found], wanted[-1][2])
    return [Suspect(one, streaks.get(one.meter_id, 0)) for one in found]


async def nights_of(conn: Conn, meter: Meter, until: date, zone: ZoneInfo) -> list[tuple[date, int | None]]:
    """The minimum hourly flow (mL/h) of each of the last 30 nights; None where an hour of it is not measured."""
    wanted = nights(until, SHOWN_NIGHTS, zone)
    flows = await repository.nights_of_meter(
        conn, meter.id, meter.main_channel.number, [one[1] for one in wanted], [one[2] for one in wanted]
    )
    return list(zip((one[0] for one in wanted), flows, strict=True))


async def streaks_h(conn: Conn, meter_ids: Collection[int], now: datetime) -> dict[int, int]:
    """For how many measured hours water has flowed through each meter without a still one."""
    return await _streaks(conn, meter_ids, now)


async def _streaks(conn: Conn, meter_ids: Collection[int], now: datetime) -> dict[int, int]:
    since = now.replace(minute=0, second=0, microsecond=0) - timedelta(days=_STREAK_DAYS)
    found = await repository.streaks(conn, sorted(set(meter_ids)), MAIN_CHANNEL["water"].number, since)
    return {meter_id: seconds // 3600 for meter_id, seconds in found.items()}
