"""Forms on the page of an agreement: ended, agreed otherwise, taken back, its floor area filed."""

from collections.abc import Awaitable
from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service
from cloud.billing.agreements.models import BilledAreaIn, RentStepIn, TaxStepIn
from cloud.billing.agreements.pages import DayTyped, show, unit_of
from cloud.estate.shown import Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.routing import page_router
from cloud.metering.assets.forms import read, typed

router = page_router()

Running = Annotated[Scope, allow_page("bills.run")]


@router.post("/agreements/{agreement_id}/end")
async def end_agreement(request: Request, scope: Running, agreement_id: int, day: DayTyped) -> Response:
    """Ends an agreement: `day` is the first day without it."""
    page = await shown(request, scope)
    return await _done(page, agreement_id, service.end_agreement(scope.conn, agreement_id, day), "agreement-ended")


@router.post("/agreements/{agreement_id}/rent")
async def change_rent(request: Request, scope: Running, agreement_id: int) -> Response:
    """Agrees on another amount from a day on."""
    page = await shown(request, scope)
    return await _done(page, agreement_id, _change_rent(request, scope, agreement_id), "agreed-otherwise")


async def _change_rent(request: Request, scope: Scope, agreement_id: int) -> None:
    step = read(RentStepIn, await typed(request))
    await service.change_rent(scope.conn, agreement_id, [service.RentStep(step.from_day, step.amount)])


@router.post("/agreements/{agreement_id}/tax")
async def change_tax(request: Request, scope: Running, agreement_id: int) -> Response:
    """Agrees on another tax from a day on."""
    page = await shown(request, scope)
    return await _done(page, agreement_id, _change_tax(request, scope, agreement_id), "agreed-otherwise")


async def _change_tax(request: Request, scope: Scope, agreement_id: int) -> None:
    values = await typed(request)
    told = {**values, "inclusive": values.get("inclusive") == "true"}
    await service.change_tax(scope.conn, agreement_id, read(TaxStepIn, told).step())


@router.post("/agreements/{agreement_id}/area")
async def file_area(request: Request, scope: Running, agreement_id: int) -> Response:
    """Files another floor area of the unit from a day on."""
    page = await shown(request, scope)
    return await _done(page, agreement_id, _file_area(request, scope, agreement_id), "area-filed")


async def _file_area(request: Request, scope: Scope, agreement_id: int) -> None:
    agreement = await service.get_agreement(scope.conn, agreement_id)
    unit_id = await unit_of(scope.conn, agreement)
    if unit_id is None:
        raise InvalidInput("no-unit", "neither the agreement nor its account has a unit", field="agreement_id")
    told = {**await typed(request), "project_id": agreement.project_id, "unit_id": unit_id}
    filed = read(BilledAreaIn, told)
    await service.file_area(scope.conn, **filed.model_dump(), by=scope.caller.user_id)


@router.post("/agreements/{agreement_id}/take-back")
async def take_back(
    request: Request, scope: Running, agreement_id: int, reason: Annotated[str, Form(max_length=300)]
) -> Response:
    """Takes a one-off charge back that a bill charged already."""
    page = await shown(request, scope)
    return await _done(page, agreement_id, service.take_back(scope.conn, agreement_id, reason), "charge-taken-back")


@router.post("/agreements/{agreement_id}/withdraw")
async def withdraw_agreement(request: Request, scope: Running, agreement_id: int) -> Response:
    """Takes an agreement back of which nothing was charged."""
    page = await shown(request, scope)
    try:
        await service.withdraw_agreement(scope.conn, agreement_id)
    except GatemeterError as error:
        return await show(page, agreement_id, error)
    return RedirectResponse("/agreements?done=withdrawn", 303)


async def _done(page: Shown, agreement_id: int, change: Awaitable[object], done: str) -> Response:
    """Makes the change; what is wrong is said above the agreement."""
    try:
        await change
    except GatemeterError as error:
        return await show(page, agreement_id, error)
    return RedirectResponse(f"/agreements/{agreement_id}?done={done}", 303)
