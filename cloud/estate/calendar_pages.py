"""Page of the calendar: a year at a glance, days to mark, calendars to bring in after a look at them."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Form, Request, UploadFile
from starlette.responses import RedirectResponse, Response

from cloud.estate.calendar import CalendarDay, calendar_days, clear_calendar_days, lacks_year, set_calendar_days
from cloud.estate.calendar_files import MOST_BYTES, preset, presets, read_calendar
from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.calendars import DayType
from cloud.kit.errors import InvalidInput
from cloud.kit.periods import Period, local_day
from cloud.kit.routing import page_router

router = page_router()

_MOST_DAYS_AT_ONCE = 400


@router.get("/calendar")
async def calendar_page(
    request: Request, scope: Annotated[Scope, allow_page("estate.read")], year: int | None = None
) -> Response:
    """A year of the project."""
    return await _page(request, scope, year)


@router.post("/calendar")
async def mark(
    request: Request,
    scope: Annotated[Scope, allow_page("estate.write")],
    first: Annotated[date, Form()],
    kind: Annotated[Literal["work", "rest", "holiday", "critical", ""], Form()] = "",
    last: Annotated[str, Form(max_length=10)] = "",
    name: Annotated[str, Form(max_length=100)] = "",
) -> Response:
    """Says what the days from `first` to `last` are; no kind: again what their weekday says."""
    page = await shown(request, scope)
    until = _last(first, last)
    days = [first + timedelta(days=n) for n in range((until - first).days + 1)]
    if kind == "":
        await clear_calendar_days(scope.conn, page.project.id, days)
    else:
        await set_calendar_days(scope.conn, page.project.id, [CalendarDay(day, kind, name.strip()) for day in days])
    return RedirectResponse(f"/calendar?year={first.year}&done=saved", 303)


@router.post("/calendar/preset")
async def preview_preset(
    request: Request, scope: Annotated[Scope, allow_page("estate.write")], name: Annotated[str, Form(max_length=40)]
) -> Response:
    """Shows what a calendar that ships would set."""
    return await _previewed(request, scope, preset(name))


@router.post("/calendar/file")
async def preview_file(
    request: Request, scope: Annotated[Scope, allow_page("estate.write")], file: UploadFile
) -> Response:
    """Shows what a CSV or ICS file would set."""
    raw = await file.read(MOST_BYTES + 1)
    if len(raw) > MOST_BYTES:
        raise InvalidInput("file-too-large", f"at most {MOST_BYTES} bytes", field="file")
    try:
        return await _previewed(request, scope, read_calendar(raw.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise InvalidInput("bad-calendar", "expected a text file in UTF-8", field="file") from error


@router.post("/calendar/import")
async def import_days(
    request: Request,
    scope: Annotated[Scope, allow_page("estate.write")],
    days: Annotated[str, Form(max_length=200_000)],
) -> Response:
    """Sets the days that were looked at."""
    page = await shown(request, scope)
    found = read_calendar(days)
    await set_calendar_days(scope.conn, page.project.id, found)
    return RedirectResponse(f"/calendar?year={found[0].day.year}&done=saved", 303)


def _last(first: date, last: str) -> date:
    try:
        until = date.fromisoformat(last) if last else first
    except ValueError as error:
        raise InvalidInput("bad-date", f"expected a day, found {last!r}", field="last") from error
    if not 0 <= (until - first).days < _MOST_DAYS_AT_ONCE:
        raise InvalidInput("bad-dates", "expected a last day that is not before the first", field="last")
    return until


async def _previewed(request: Request, scope: Scope, days: Sequence[CalendarDay]) -> Response:
    return await _page(request, scope, days[0].day.year, days)


async def _page(request: Request, scope: Scope, year: int | None, offered: Sequence[CalendarDay] = ()) -> Response:
    page = await shown(request, scope)
    today = local_day(datetime.now(UTC), page.project.zone)
    year = year if year is not None and 1900 < year < 2199 else today.year
    days = await calendar_days(scope.conn, page.project.id, Period(date(year, 1, 1), date(year + 1, 1, 1)))
    known = {one.day: one for one in days}
    kinds: dict[date, DayType] = {one.day: one.kind for one in [*days, *offered]}
    return page.page(
        "estate/calendar.html",
        year=year,
        today=today,
        weeks=[_weeks(year, month) for month in range(1, 13)],
        known=known,
        kinds=kinds,
        offered=[(one, known.get(one.day)) for one in offered],
        offered_text=_text(offered),
        presets=presets(),
        missing=await lacks_year(scope.conn, page.project.id, today.year + 1) if today.month >= 11 else False,
        may_write=scope.caller.may("estate.write", page.project.id),
    )


def _weeks(year: int, month: int) -> list[list[date | None]]:
    """The weeks of a month from Monday on; None outside of it."""
    day = date(year, month, 1)
    cells: list[date | None] = [None] * day.weekday()
    while day.month == month:
        cells.append(day)
        day += timedelta(days=1)
    cells += [None] * (-len(cells) % 7)
    return [cells[n : n + 7] for n in range(0, len(cells), 7)]


def _text(days: Sequence[CalendarDay]) -> str:
    """The days as CSV, to be sent back once they were looked at."""
    names = [one.name.replace('"', "'").replace("\n", " ") for one in days]
    rows = [f'{one.day},{one.kind},"{name}"' for one, name in zip(days, names, strict=True)]
    return "\n".join(["day,kind,name", *rows])
