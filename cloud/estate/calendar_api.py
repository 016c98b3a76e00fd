"""REST: the days of a project that are not what their weekday says."""

from datetime import date
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, Field, model_validator

from cloud.estate import service
from cloud.estate.calendar import CalendarDay, calendar_days, clear_calendar_days, set_calendar_days
from cloud.estate.calendar_files import MOST_DAYS
from cloud.identity.guards import Scope, allow
from cloud.kit.calendars import DayType
from cloud.kit.inputs import Day, Id, Input
from cloud.kit.periods import Period
from cloud.kit.routing import rest_router

router = rest_router("estate")


class CalendarDayIn(Input):
    """What a day is; `kind` null: again what its weekday says."""

    day: Day
    kind: DayType | None
    name: Annotated[str, Field(max_length=100, examples=["国庆节"])] = ""


class CalendarIn(Input):
    """Days to set; the days not named stay as they are."""

    project_id: Id
    days: Annotated[list[CalendarDayIn], Field(min_length=1, max_length=MOST_DAYS)]


class CalendarQuery(Input):
    """Which days are wanted: from `start` up to, not including, `end`."""

    project_id: Id
    start: Day
    end: Day

    @model_validator(mode="after")
    def _in_order(self) -> "CalendarQuery":
        if not 0 < (self.end - self.start).days <= MOST_DAYS:
            raise ValueError(f"end: after start, and at most {MOST_DAYS} days later")
        return self


class CalendarDayOut(BaseModel):
    """A day that is not what its weekday says."""

    day: date
    kind: DayType
    name: str


class CalendarOut(BaseModel):
    """Days in order."""

    items: list[CalendarDayOut]


@router.get("/calendar-days")
async def list_days(
    scope: Annotated[Scope, allow("estate.read")], query: Annotated[CalendarQuery, Query()]
) -> CalendarOut:
    """The days that differ from their weekday: all others are work from Monday to Friday, else rest."""
    days = await calendar_days(scope.conn, query.project_id, Period(query.start, query.end))
    return CalendarOut(items=[CalendarDayOut(day=one.day, kind=one.kind, name=one.name) for one in days])


@router.put("/calendar-days")
async def set_days(body: CalendarIn, scope: Annotated[Scope, allow("estate.write")]) -> CalendarOut:
    """Says what these days are. Saying the same again changes nothing."""
    await service.get_project(scope.conn, body.project_id)
    found = [CalendarDay(one.day, one.kind, one.name) for one in body.days if one.kind is not None]
    await set_calendar_days(scope.conn, body.project_id, found)
    await clear_calendar_days(scope.conn, body.project_id, [one.day for one in body.days if one.kind is None])
    return CalendarOut(items=[CalendarDayOut(day=one.day, kind=one.kind, name=one.name) for one in found])
