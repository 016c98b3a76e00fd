"""The calendar of a project: which days are not what their weekday says."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.calendars import DayType
from cloud.kit.db import Conn
from cloud.kit.periods import Period

_DAYS: LiteralString = """
    SELECT day, kind, name FROM calendar_day
    WHERE project_id = %(project_id)s AND day >= %(start)s AND day < %(end)s ORDER BY day
"""
_SET: LiteralString = """
    INSERT INTO calendar_day (project_id, day, kind, name)
    SELECT %(project_id)s, day, kind, name FROM jsonb_to_recordset(%(days)s) AS new (day date, kind text, name text)
    ON CONFLICT (project_id, day) DO UPDATE SET kind = excluded.kind, name = excluded.name
    WHERE (calendar_day.kind, calendar_day.name) IS DISTINCT FROM (excluded.kind, excluded.name)
"""
_CLEAR: LiteralString = "DELETE FROM calendar_day WHERE project_id = %s AND day = ANY (%s)"


@dataclass(frozen=True, slots=True)
class CalendarDay:
    """A day that differs from its weekday; `name` is what people call it."""

    day: date
    kind: DayType
    name: str = ""


async def calendar_days(conn: Conn, project_id: int, period: Period) -> list[CalendarDay]:
    """The days of a period that differ from their weekday, in order."""
    values = {"project_id": project_id, "start": period.start, "end": period.end}
    return [CalendarDay(**row) for row in await (await conn.execute(_DAYS, values)).fetchall()]


async def calendar(conn: Conn, project_id: int, period: Period) -> Mapping[date, DayType]:
    """The same by day, as `day_type` takes it."""
    return {one.day: one.kind for one in await calendar_days(conn, project_id, period)}


async def set_calendar_days(conn: Conn, project_id: int, days: list[CalendarDay]) -> None:
    """Says what these days are; setting the same again changes nothing."""
    rows = [{"day": one.day.isoformat(), "kind": one.kind, "name": one.name} for one in days]
    await conn.execute(_SET, {"project_id": project_id, "days": Jsonb(rows)})


async def lacks_year(conn: Conn, project_id: int, year: int) -> bool:
    """Whether no public holiday of a year is set."""
    days = await calendar_days(conn, project_id, Period(date(year, 1, 1), date(year + 1, 1, 1)))
    return not any(one.kind == "holiday" for one in days)


async def clear_calendar_days(conn: Conn, project_id: int, days: list[date]) -> None:
    """These days are again what their weekday says."""
    await conn.execute(_CLEAR, (project_id, days))
