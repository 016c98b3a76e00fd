"""Pages of debts and of how a project takes money for parking."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Annotated, Final

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalDay, OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import InvalidInput
from cloud.kit.forms import read, typed
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.periods import day_start, local_day
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce
from cloud.parking import service
from cloud.parking.charging import debts
from cloud.parking.charging.debt_models import MoneyPolicyIn
from cloud.parking.charging.debts import DebtFilter
from cloud.parking.charging.public_address import place_for

router = page_router()

Reading = Annotated[Scope, allow_page("parking.read")]
Waiving = Annotated[Scope, allow_page("parking.waive")]
Writing = Annotated[Scope, allow_page("parking.write")]

_SHOWN: Final = 30


@router.get("/parking/debts")
async def list_debts(
    request: Request,
    scope: Reading,
    plate: OptionalText = None,
    lot_id: OptionalId = None,
    left_from: OptionalDay = None,
    cursor: str | None = None,
) -> Response:
    """Who left without paying, newest first, and what that adds up to."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    page = await shown(request, scope)
    since = None if left_from is None else day_start(left_from, page.project.zone)
    wanted, problem = DebtFilter(page.project.id, lot_id, plate, since), None
    try:
        found = await debts.list_debts(scope.conn, page_request(_SHOWN, cursor), wanted)
    except InvalidInput as error:
        if error.field != "plate":
            raise
        wanted, problem = replace(wanted, plate=None), error
        found = await debts.list_debts(scope.conn, PageRequest(_SHOWN), wanted)
    return page.page(
        "parking/debts.html",
        found=found,
        problem=problem,
        totals=await debts.debt_totals(scope.conn, wanted),
        lots=(await service.list_lots(scope.conn, PageRequest(MAX_LIMIT), page.project.id)).items,
        plate=plate or "",
        lot_id=lot_id,
        left_from=left_from,
        today=local_day(datetime.now(UTC), page.project.zone),
        may_waive=scope.caller.may("parking.waive", page.project.id),
    )


@router.post("/parking/debts/{session_id}/waive")
async def waive(
    scope: Waiving,
    session_id: int,
    sent: FormOnce,
    reason: Annotated[str, Form(max_length=1000)],
    amount: Annotated[Decimal | None, Form()] = None,
) -> Response:
    """Nobody has to pay it any more, with the reason."""

    async def made() -> str:
        await service.waive(scope.conn, session_id, amount, reason, scope.caller.actor)
        return "/parking/debts?done=saved"

    return await sent.lead(scope.conn, made)


@router.get("/parking/money")
async def policy(request: Request, scope: Reading) -> Response:
    """How money is taken, and the address that stands on the signs."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/stays", 303)
    page = await shown(request, scope)
    found = await service.money_policy(scope.conn, page.project.id)
    return page.page(
        "parking/money.html",
        policy=found,
        place=await place_for(request, scope.conn, page.project.id),
        may_write=scope.caller.may("parking.write", page.project.id),
    )


@router.post("/parking/money")
async def set_policy(request: Request, scope: Writing) -> Response:
    """Sets it."""
    page = await shown(request, scope)
    boxes = {"public_page": False, "free_passes": False}
    wanted = read(MoneyPolicyIn, boxes | await typed(request))
    await service.set_money_policy(scope.conn, page.project.id, wanted.policy(), public=wanted.public_page)
    return RedirectResponse("/parking/money?done=saved", 303)
