"""Pages that look across all features: overview, list of meters, audit trail, a resident's home."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

from fastapi import Request
from pydantic import BeforeValidator
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.estate.service import EstateFilter
from cloud.estate.shown import OptionalDay, OptionalId, OptionalText, shown
from cloud.identity import service as identity
from cloud.identity.guards import Scope, allow_page
from cloud.identity.records import AuditFilter
from cloud.kit import i18n
from cloud.kit.charts import Chart, Series, decimals
from cloud.kit.errors import Forbidden
from cloud.kit.pages import translator_of
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import day_start, local_day
from cloud.kit.routing import page_router
from cloud.metering.records import MAIN_CHANNEL, Medium
from cloud.reports import service as reports
from cloud.reports.exceptions import KEY_LENGTHS, Kind, kinds
from cloud.reports.exceptions import exceptions as find_exceptions
from cloud.reports.records import HourUsage, MeterFilter, fills

router = page_router()

_START = {"staff": "/", "resident": "/home", "merchant": "/shop"}
"""The first page of each kind of reader."""
_DUE_SOON = timedelta(days=90)
_NoneIfBlank = BeforeValidator(lambda value: None if value == "" else value)


@router.get("/")
async def overview(
    request: Request, scope: Annotated[Scope, allow_page("self.read")], medium: Medium = "electricity"
) -> Response:
    """The staff's first page; residents are led to theirs."""
    if scope.caller.kind != "staff":
        return RedirectResponse(_START[scope.caller.kind], 303)
    page = await shown(request, scope)
    if page.chosen is None:
        return page.page("reports/overview.html", overview=None, medium=medium)
    found = await reports.overview(scope.conn, scope.caller, page.chosen, datetime.now(UTC))
    return page.page("reports/overview.html", overview=found, medium=medium)


@router.get("/overview/hours")
async def hours(request: Request, scope: Annotated[Scope, allow_page("usage.read")], medium: Medium) -> Response:
    """Data of the chart: usage by the hour, today over yesterday."""
    page = await shown(request, scope)
    now = datetime.now(UTC)
    today, yesterday = await reports.hours_of_two_days(scope.conn, page.project, medium, now)
    with i18n.speaking(translator_of(request, scope.caller)):
        return _two_days(page.project, medium, now, today, yesterday).answer()


@router.get("/meters")
async def meters(
    request: Request,
    scope: Annotated[Scope, allow_page("meters.read")],
    search: OptionalText = None,
    building_id: OptionalId = None,
    unit_id: OptionalId = None,
    medium: Annotated[Medium | None, _NoneIfBlank] = None,
    state: Annotated[Literal["online", "silent", "never"] | None, _NoneIfBlank] = None,
    meter_class: OptionalText = None,
    due: Annotated[Literal["soon", "over"] | None, _NoneIfBlank] = None,
    cursor: str | None = None,
) -> Response:
    """Meters of the project with their last reading; `due` looks at the verification."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/usage", 303)
    page = await shown(request, scope)
    now = datetime.now(UTC)
    today = local_day(now, page.project.zone)
    due_by = None if due is None else today + (_DUE_SOON if due == "soon" else timedelta(0))
    wanted = MeterFilter(page.project.id, search, building_id, unit_id, medium, state, meter_class, due_by)
    here = EstateFilter(project_id=page.project.id)
    return page.page(
        "metering/list.html",
        meters=await reports.find_meters(scope.conn, page_request(None, cursor), wanted, now),
        buildings=(await estate.list_buildings(scope.conn, PageRequest(MAX_LIMIT), here)).items,
        classes=await reports.meter_classes(scope.conn, page.project.id),
        wanted=wanted,
        due=due,
        today=today,
        may_write=scope.caller.may("meters.write", page.project.id),
    )


@router.get("/exceptions")
async def exceptions(
    request: Request,
    scope: Annotated[Scope, allow_page("self.read")],
    kind: Kind | None = None,
    cursor: str | None = None,
) -> Response:
    """What a person should look at, kind by kind; only the kinds that the reader may see."""
    if scope.caller.kind != "staff":
        return RedirectResponse(_START[scope.caller.kind], 303)
    page = await shown(request, scope)
    open_kinds = kinds(scope.caller, page.project.id)
    chosen = kind or next(iter(open_kinds), None)
    if chosen not in open_kinds:
        raise Forbidden("no-permission", "no permission to see these exceptions")
    wanted = page_request(None, cursor, key_length=KEY_LENGTHS[chosen])
    return page.page(
        "reports/exceptions.html",
        found=await find_exceptions(scope.conn, wanted, chosen, page.project.id),
        kinds=open_kinds,
        kind=chosen,
    )


@router.get("/audit")
async def audit(
    request: Request,
    scope: Annotated[Scope, allow_page("audit.read")],
    table: OptionalText = None,
    since: OptionalDay = None,
    until: OptionalDay = None,
    cursor: str | None = None,
) -> Response:
    """Who changed what, newest first: one kind of rows or all, on local days from `since` to and with `until`."""
    page = await shown(request, scope)
    zone = page.project.zone
    wanted = AuditFilter(
        project_id=page.project.id,
        table_name=table,
        start=day_start(since, zone) if since else None,
        end=day_start(until + timedelta(days=1), zone) if until else None,
    )
    entries = await identity.list_audit_entries(scope.conn, page_request(None, cursor), wanted)
    users = {entry.user_id for entry in entries.items if entry.user_id is not None}
    return page.page(
        "reports/audit.html",
        entries=entries,
        names=await identity.user_names(scope.conn, users),
        table=table,
        since=since,
        until=until,
    )


@router.get("/home")
async def home(request: Request, scope: Annotated[Scope, allow_page("self.read")]) -> Response:
    """A resident's first page."""
    if scope.caller.kind != "resident":
        return RedirectResponse(_START[scope.caller.kind], 303)
    page = await shown(request, scope)
    now = datetime.now(UTC)
    found = await reports.home(scope.conn, page.project, now)
    return page.page(
        "reports/home.html",
        home=found,
        gauges=[(gauge, fills(gauge)) for gauge in found.gauges],
        today=local_day(now, page.project.zone),
        now=now,
    )


def _two_days(
    project: Project, medium: Medium, now: datetime, today: list[HourUsage], yesterday: list[HourUsage]
) -> Chart:
    channel = MAIN_CHANNEL[medium]
    day = local_day(now, project.zone)
    starts = [day_start(day - timedelta(days=back), project.zone) for back in (0, 1)]
    passed = int((now - starts[0]).total_seconds()) // 3600
    now_values = _by_hour(today, starts[0])
    return Chart(
        unit=channel.display_unit,
        labels=[f"{hour:02}" for hour in range(24)],
        titles=[f"{hour:02}:00–{hour + 1:02}:00" for hour in range(24)],
        series=[
            Series(
                i18n.gettext("Yesterday"),
                "line",
                "before",
                decimals(_by_hour(yesterday, starts[1]), channel.display_exponent),
            ),
            Series(i18n.gettext("Today"), "bar", medium, decimals(now_values, channel.display_exponent)),
        ],
        # Only hours that are over, and not the last: its readings may still be on their way.
        gaps=[hour for hour in range(max(0, passed - 1)) if now_values[hour] is None],
    )


def _by_hour(found: list[HourUsage], start: datetime) -> list[int | None]:
    """24 slots; a day of 23 or 25 hours is cut to them by the clock's hours since midnight."""
    slots: list[int | None] = [None] * 24
    for one in found:
        slot = int((one.start - start).total_seconds()) // 3600
        if slot < len(slots):
            slots[slot] = one.quantity
    return slots
