"""Page on which a meter is exchanged, removed, or given another multiplier: readings, what they mean, then the act."""

from collections.abc import Mapping
from typing import Any, Final, Literal
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import shown
from cloud.identity.guards import Scope
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.assets import forms
from cloud.metering.assets.pages import Writing, actor, device_choices, now, zone_of
from cloud.metering.assets.registers import registers_of
from cloud.metering.exchanges import service as exchange
from cloud.metering.exchanges.models import (
    ExchangeIn,
    RemovalIn,
    UndoIn,
)
from cloud.metering.exchanges.records import ExchangePlan
from cloud.metering.records import Meter
from gateway.contract.quantities import BY_NUMBER, Kind

router = page_router()

Act = Literal["exchanged", "multiplier", "removed"]
_SURE: Final = ("sure", "seen", "kind")


@router.get("/meters/{meter_id}/exchange")
async def exchange_form(request: Request, scope: Writing, meter_id: int, kind: Act = "exchanged") -> Response:
    """The form, with the last reading of every register."""
    meter = await service.get_meter(scope.conn, meter_id)
    zone = await zone_of(scope.conn, meter)
    at = now().astimezone(zone).strftime("%Y-%m-%dT%H:%M")
    return await _page(request, scope, meter, kind, {"at": at, "initial": "0"})


@router.post("/meters/{meter_id}/exchange")
async def make_exchange(request: Request, scope: Writing, meter_id: int) -> Response:
    """Says first what the readings mean; the same sent once more, with the second button, is done."""
    typed = await forms.typed(request)
    meter = await service.get_meter(scope.conn, meter_id)
    kind: Act = next((one for one in ("multiplier", "removed") if typed.get("kind") == one), "exchanged")
    values = {name: value for name, value in typed.items() if name not in _SURE}
    try:
        sure = typed.get("sure") == "yes" and typed.get("seen") == seen(values)
        # What is refused halfway leaves nothing behind, though the page is answered.
        async with scope.conn.transaction():
            plan = await _act(scope, meter, kind, values, sure=sure)
    except (InvalidInput, Conflict, NotFound) as error:
        return await _page(request, scope, meter, kind, values, problem=error)
    if plan is None:
        return RedirectResponse(f"/meters/{meter_id}/data?done=exchanged#registers", 303)
    return await _page(request, scope, meter, kind, values, plan=plan)


@router.post("/meters/{meter_id}/procedures/{procedure_id}/undo")
async def undo(request: Request, scope: Writing, meter_id: int, procedure_id: int) -> Response:
    """Takes the last exchange or removal back."""
    body = forms.read(UndoIn, await forms.typed(request))
    await exchange.undo(scope.conn, meter_id, procedure_id, actor(scope), body.reason)
    return RedirectResponse(f"/meters/{meter_id}/data?done=undone#registers", 303)


def seen(values: Mapping[str, str]) -> str:
    """What was looked at before it was confirmed: other values are shown again first."""
    return urlencode(sorted(values.items()))


async def _act(scope: Scope, meter: Meter, kind: Act, values: Mapping[str, str], *, sure: bool) -> ExchangePlan | None:
    """The plan, or None when it was carried out."""
    zone = await zone_of(scope.conn, meter)
    fields: dict[str, Any] = forms.with_others(forms.with_times(values, zone, "at"))
    if kind == "removed":
        removal = forms.read(RemovalIn, {name: fields[name] for name in RemovalIn.model_fields if name in fields})
        if sure:
            await exchange.remove(scope.conn, removal.wanted(meter), actor(scope), now())
            return None
        return await exchange.plan_removal(scope.conn, removal.wanted(meter), now())
    if kind == "multiplier":
        # The register runs on: what was typed of another one is of the other form.
        fields = {name: fields[name] for name in ("at", "final", "others", "multiplier", "note") if name in fields}
        fields["others"] = tuple({**one, "initial": one.get("final")} for one in fields.get("others", ()))
    wanted = forms.read(ExchangeIn, {**forms.with_rating(fields), "reason": kind}).wanted(meter)
    if sure:
        await exchange.exchange(scope.conn, wanted, actor(scope), now())
        return None
    return await exchange.plan_exchange(scope.conn, wanted, now())


async def _page(
    request: Request,
    scope: Scope,
    meter: Meter,
    kind: Act,
    values: Mapping[str, str],
    *,
    plan: ExchangePlan | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    register = (await registers_of(scope.conn, [meter.id]))[meter.id][-1]
    latest = (await service.latest_readings(scope.conn, [meter.id])).get(meter.id, [])
    counting = [one for one in latest if _is_asked(one.channel, meter)]
    return page.page(
        "metering/exchange.html",
        status=problem.status if problem else 200,
        meter=meter,
        tab="exchange",
        may_write=True,
        kind=kind,
        values={**forms.face_of(meter.medium, register), "serial": "", **values},
        seen=seen(values),
        register=register,
        last=next((one for one in latest if one.channel == meter.main_channel.number), None),
        others=counting,
        device_choices=await device_choices(scope.conn, meter.project_id),
        quantities=BY_NUMBER,
        zone=await zone_of(scope.conn, meter),
        plan=plan,
        problem=problem,
    )


def _is_asked(number: int, meter: Meter) -> bool:
    """Usage is derived of channels that count in the unit of the main one."""
    quantity = BY_NUMBER[number]
    return (
        quantity.kind is Kind.CUMULATIVE and quantity.unit == meter.main_channel.unit and quantity != meter.main_channel
    )
