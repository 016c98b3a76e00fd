"""Pages of a meter as a thing: a new one, what is said of it, registers, seals, verifications, bindings, tree."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo

import psycopg
from fastapi import Request
from starlette.responses import RedirectResponse, Response

from cloud.devices import bindings
from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.errors import Forbidden, GatemeterError, InvalidInput
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.assets import forms
from cloud.metering.assets import service as assets
from cloud.metering.assets.models import (
    BindingEndIn,
    MeterPatch,
    RegisterPatch,
    SealIn,
    SealRemovalIn,
    VerificationIn,
)
from cloud.metering.assets.registers import registers_of
from cloud.metering.exchanges import service as exchange
from cloud.metering.models import BindingIn, MeterIn
from cloud.metering.records import Medium, Meter, MeterFilter
from gateway.contract.quantities import BY_NUMBER

router = page_router()

Reading = Annotated[Scope, allow_page("meters.read")]
Writing = Annotated[Scope, allow_page("meters.write")]

_ALL: Final = PageRequest(MAX_LIMIT)
_BLANK: Final = {"multiplier": "1", "digits": "6", "decimals": "2", "phases": "1", "interval_s": "3600"}


@router.get("/meters/new")
async def new_meter(request: Request, scope: Writing, medium: Medium = "electricity") -> Response:
    """Form of a new meter; what it asks for depends on the medium."""
    return await _new_page(request, scope, {**_BLANK, "medium": medium}, None)


@router.post("/meters/new")
async def create_meter(request: Request, scope: Writing) -> Response:
    """Makes the meter; what is wrong is said beside the form, which keeps what was typed."""
    typed = await forms.typed(request)
    page = await shown(request, scope)
    try:
        body = forms.read(MeterIn, {**forms.with_interval(forms.with_rating(typed)), "project_id": page.project.id})
        async with scope.conn.transaction():
            made = (await service.create_meters(scope.conn, body.project_id, [body.new()]))[0]
    except InvalidInput as error:
        return await _new_page(request, scope, typed, error)
    except psycopg.Error as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        return await _new_page(request, scope, typed, meaning)
    return _to_data(made.id, "saved")


@router.get("/meters/{meter_id}/data")
async def data(request: Request, scope: Reading, meter_id: int) -> Response:
    """Everything about a meter but its usage."""
    _staff_only(scope)
    meter = await service.get_meter(scope.conn, meter_id)
    zone = await zone_of(scope.conn, meter)
    page = await shown(request, scope)
    return page.page("metering/data.html", zone=zone, **await _about(page, meter))


@router.post("/meters/{meter_id}/data")
async def correct(request: Request, scope: Writing, meter_id: int) -> Response:
    """Corrects what is said of the meter; a field that was emptied is empty."""
    typed = await forms.typed(request)
    meter = await service.get_meter(scope.conn, meter_id)
    emptied: dict[str, Any] = {"unit_id": None, "parent_id": None, "verification_due": None, "place": "",
                               "meter_class": ""}  # fmt: skip
    body = forms.read(MeterPatch, {**emptied, **forms.with_interval(typed)})
    await assets.correct(scope.conn, meter_id, body.corrected(assets.master_data(meter)))
    return _to_data(meter_id, "saved")


@router.post("/meters/{meter_id}/registers/{register_id}")
async def correct_register(request: Request, scope: Writing, meter_id: int, register_id: int) -> Response:
    """Corrects what was entered wrongly of a register."""
    body = forms.read(RegisterPatch, forms.with_rating(await forms.typed(request)))
    meter = await service.get_meter(scope.conn, meter_id)
    await assets.correct_register(scope.conn, meter_id, register_id, **body.said(meter.medium))
    return _to_data(meter_id, "saved")


@router.post("/meters/{meter_id}/seals")
async def apply_seal(request: Request, scope: Writing, meter_id: int) -> Response:
    """A seal was put on."""
    body = forms.read(SealIn, await _typed_here(request, scope, meter_id, "applied_at"))
    await assets.apply_seal(
        scope.conn, meter_id, body.number, body.place, body.applied_at, body.applied_by or actor(scope), now()
    )
    return _to_data(meter_id, "saved", "seals")


@router.post("/meters/{meter_id}/seals/{seal_id}/removal")
async def remove_seal(request: Request, scope: Writing, meter_id: int, seal_id: int) -> Response:
    """A seal was taken off."""
    body = forms.read(SealRemovalIn, await _typed_here(request, scope, meter_id, "at"))
    await assets.remove_seal(scope.conn, meter_id, seal_id, body.at, actor(scope), body.reason, now())
    return _to_data(meter_id, "saved", "seals")


@router.post("/meters/{meter_id}/verifications")
async def verify(request: Request, scope: Writing, meter_id: int) -> Response:
    """A verification was made."""
    body = forms.read(VerificationIn, await forms.typed(request))
    await assets.verify(scope.conn, meter_id, actor=actor(scope), now=now(), **body.model_dump())
    return _to_data(meter_id, "saved", "verifications")


@router.post("/meters/{meter_id}/bindings")
async def bind(request: Request, scope: Writing, meter_id: int) -> Response:
    """A device carries the meter from now or earlier on."""
    values = await _typed_here(request, scope, meter_id, "valid_from")
    body = forms.read(BindingIn, {**values, "meter_id": meter_id})
    await devices.bind(scope.conn, body.device_id, meter_id, body.valid_from, body.valid_until)
    return _to_data(meter_id, "saved", "bindings")


@router.post("/meters/{meter_id}/bindings/{binding_id}/end")
async def end_binding(request: Request, scope: Writing, meter_id: int, binding_id: int) -> Response:
    """A device carries the meter no longer."""
    body = forms.read(BindingEndIn, await _typed_here(request, scope, meter_id, "at"))
    await bindings.end_binding(scope.conn, binding_id, body.at)
    return _to_data(meter_id, "saved", "bindings")


async def zone_of(conn: Conn, meter: Meter) -> ZoneInfo:
    """The zone of the meter's project, which need not be the one that is shown."""
    return (await estate.get_project(conn, meter.project_id)).zone


async def device_choices(conn: Conn, project_id: int) -> list[tuple[int, str]]:
    """Devices of a project as a form offers them."""
    found = (await devices.list_devices(conn, _ALL, project_id)).items
    return [(one.id, f"{one.gateway_code} / {one.code}") for one in found]


def now() -> datetime:
    """This moment."""
    return datetime.now(UTC)


def actor(scope: Scope) -> str:
    """Who asks, as records name him."""
    return scope.caller.actor


async def _typed_here(request: Request, scope: Scope, meter_id: int, *times: str) -> dict[str, Any]:
    meter = await service.get_meter(scope.conn, meter_id)
    return forms.with_times(await forms.typed(request), await zone_of(scope.conn, meter), *times)


async def _new_page(
    request: Request, scope: Scope, values: Mapping[str, str], problem: GatemeterError | None
) -> Response:
    page = await shown(request, scope)
    return page.page(
        "metering/new.html",
        status=problem.status if problem else 200,
        values=values,
        problem=problem,
        today=local_day(now(), page.project.zone),
        **await _choices(scope.conn, page.project.id, values.get("medium", "electricity"), None),
    )


async def _about(page: Shown, meter: Meter) -> dict[str, Any]:
    """What the page of a meter's data shows."""
    conn = page.conn
    writes = page.caller.may("meters.write", meter.project_id)
    registers = (await registers_of(conn, [meter.id]))[meter.id]
    tree = await assets.tree(conn, meter.id)
    units = await estate.units_by_id(conn, {one.unit_id for _, one in tree if one.unit_id})
    return {
        "meter": meter,
        "tab": "data",
        "may_write": writes,
        "registers": registers[::-1],
        "faces": {one.id: forms.face_of(meter.medium, one) for one in registers},
        "procedures": await exchange.procedures_of(conn, meter.id),
        "seals": await assets.seals_of(conn, meter.id),
        "verifications": await assets.verifications_of(conn, meter.id),
        "bindings": (await bindings.list_bindings(conn, _ALL, meter_id=meter.id)).items,
        "tree": tree,
        "labels": {unit.id: unit.label for unit in units.values()},
        "channels": await assets.channels_of(conn, meter.id),
        "quantities": BY_NUMBER,
        "today": local_day(now(), page.project.zone),
        "now": now(),
        **(await _choices(conn, meter.project_id, meter.medium, meter) if writes else {}),
    }


async def _choices(conn: Conn, project_id: int, medium: str, meter: Meter | None) -> dict[str, Any]:
    """What can be chosen: units, masters of the medium, devices, and the classes that others of it are of."""
    known: Medium = medium if medium in ("water", "heat") else "electricity"  # type: ignore[assignment]
    meters = (await service.list_meters(conn, _ALL, project_id, MeterFilter(medium=known))).items
    units = (await estate.list_units(conn, _ALL, EstateFilter(project_id=project_id))).items
    unit_choices = {one.id: one.label for one in units}
    master_choices = {one.id: one.code for one in meters}
    if meter is not None:
        # A list is cut at some length: what the meter has now is offered all the same.
        kept = [one for one in (meter.unit_id,) if one is not None and one not in unit_choices]
        unit_choices |= {one.id: one.label for one in (await estate.units_by_id(conn, kept)).values()}
        parents = [one for one in (meter.parent_id,) if one is not None]
        master_choices |= {one.id: one.code for one in (await service.meters_by_id(conn, parents)).values()}
        master_choices.pop(meter.id, None)
    return {
        "classes": sorted({one.meter_class for one in meters if one.meter_class}),
        "unit_choices": list(unit_choices.items()),
        "master_choices": list(master_choices.items()),
        "device_choices": await device_choices(conn, project_id),
    }


def _to_data(meter_id: int, done: Literal["saved"], part: str = "") -> Response:
    return RedirectResponse(f"/meters/{meter_id}/data?done={done}{f'#{part}' if part else ''}", 303)


def _staff_only(scope: Scope) -> None:
    if scope.caller.kind != "staff":
        raise Forbidden("no-permission", "this page is for staff")
