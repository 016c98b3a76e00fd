"""Pages of the bounds that rules go by: the classes of a project, one class, one meter, each with its history."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import Shown, shown
from cloud.identity import service as identity
from cloud.identity.guards import Scope, allow_page
from cloud.identity.records import AuditEntry
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.assets import forms as asset_forms
from cloud.metering.records import Meter
from cloud.metering.thresholds import form as threshold_form
from cloud.metering.thresholds import overrides as threshold_overrides
from cloud.metering.thresholds.form import Problem, SettingChange
from cloud.metering.thresholds.overrides import Override
from cloud.metering.thresholds.settings import medium_of

router = page_router()

Configuring = Annotated[Scope, allow_page("meters.write")]

_CHANGES = 20


@router.get("/thresholds")
async def of_project(request: Request, scope: Configuring) -> Response:
    """Every class of meters, with how much the project says about it."""
    page = await shown(request, scope)
    found = await threshold_overrides.of_project(scope.conn, page.project.id)
    classes = [(one.meter_class, medium_of(one.meter_class), threshold_form.count_said(one)) for one in found]
    return page.page("metering/thresholds.html", classes=classes)


@router.get("/thresholds/{meter_class}")
async def of_class(request: Request, scope: Configuring, meter_class: str, cursor: str | None = None) -> Response:
    """The form of a class."""
    page = await shown(request, scope)
    override = await threshold_overrides.of_class(scope.conn, page.project.id, meter_class)
    return await _form(page, override, cursor=cursor)


@router.post("/thresholds/{meter_class}")
async def set_of_class(request: Request, scope: Configuring, meter_class: str) -> Response:
    """Says what differs for a class; what is wrong is said beside its field."""
    typed = await asset_forms.typed(request)
    page = await shown(request, scope)
    override = await threshold_overrides.of_class(scope.conn, page.project.id, meter_class)
    try:
        form = threshold_form.read(override, typed)
    except InvalidInput as error:
        return await _form(page, override, typed=typed, error=error)
    if form.problems:
        return await _form(page, override, typed=typed, problems=form.problems)
    await threshold_overrides.set_of_class(scope.conn, page.project.id, meter_class, form.settings)
    return RedirectResponse(f"/thresholds/{meter_class}?done=saved", 303)


@router.get("/meters/{meter_id}/thresholds")
async def of_meter(request: Request, scope: Configuring, meter_id: int, cursor: str | None = None) -> Response:
    """The form of one meter."""
    page = await shown(request, scope)
    meter = await service.get_meter(scope.conn, meter_id)
    return await _form(page, await threshold_overrides.of_meter(scope.conn, meter_id), meter, cursor=cursor)


@router.post("/meters/{meter_id}/thresholds")
async def set_of_meter(request: Request, scope: Configuring, meter_id: int) -> Response:
    """Says what differs for one meter; what is wrong is said beside its field."""
    typed = await asset_forms.typed(request)
    page = await shown(request, scope)
    meter = await service.get_meter(scope.conn, meter_id)
    override = await threshold_overrides.of_meter(scope.conn, meter_id)
    try:
        form = threshold_form.read(override, typed)
    except InvalidInput as error:
        return await _form(page, override, meter, typed=typed, error=error)
    if form.problems:
        return await _form(page, override, meter, typed=typed, problems=form.problems)
    await threshold_overrides.set_of_meter(scope.conn, meter_id, form.settings)
    return RedirectResponse(f"/meters/{meter_id}/thresholds?done=saved", 303)


async def _form(
    page: Shown,
    override: Override,
    meter: Meter | None = None,
    *,
    typed: Mapping[str, str] | None = None,
    problems: Mapping[str, Problem] | None = None,
    error: InvalidInput | None = None,
    cursor: str | None = None,
) -> Response:
    project_id = page.project.id if meter is None else meter.project_id
    entries = await threshold_overrides.history(page.conn, page_request(_CHANGES, cursor), project_id, override)
    users = {one.user_id for one in entries.items if one.user_id is not None}
    return page.page(
        "metering/threshold_form.html",
        status=422 if problems or error else 200,
        meter=meter,
        tab="thresholds",
        may_write=True,
        override=override,
        groups=threshold_form.groups(override, typed, problems),
        error=error,
        problems=problems or {},
        entries=[(one, _changes(one, override.meter_class)) for one in entries.items],
        next_cursor=entries.next_cursor,
        names=await identity.user_names(page.conn, users),
    )


def _changes(entry: AuditEntry, meter_class: str) -> list[SettingChange]:
    before, after = ((one or {}).get("settings") or {} for one in (entry.before, entry.after))
    return threshold_form.changes(before, after, meter_class)
