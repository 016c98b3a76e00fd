"""Paying by plate or ticket without signing in: a page per project, found by a code on a sign.

It says what is to pay and since about when, nothing else. A plate or ticket that is unknown and one that owes nothing
get the same answer after the same time; how often one may ask is counted per address and per plate. Coupons of
merchants are handed in there too.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Depends, Form, Query, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing.documents.payment_code import as_png_uri
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.identity.guards import public
from cloud.kit.db import NOBODY, Asker, Conn, Database
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound, TooManyRequests
from cloud.kit.pages import render
from cloud.kit.routing import page_router
from cloud.parking.charging.online import ask_to_pay_plate
from cloud.parking.charging.policy import project_of_code
from cloud.parking.coupons.redeeming import redeem_for
from cloud.parking.plates import valid_plate
from cloud.parking.stays.tickets import bare_ticket, ticket_plate
from cloud.parking.visitors.looking_up import OwedByPlate, look_up
from cloud.payments import intents
from cloud.payments.channels.base import ChannelName, Mode
from cloud.payments.intent_api import channels_of, payer_ip
from cloud.payments.intents import WantedPayment

router = page_router(public())

_REFUSED: Final = (InvalidInput, TooManyRequests, Conflict, NotFound)

_ANSWERS_AFTER_S: Final = 0.3
"""Longer than any look-up takes: how long one took says nothing about the plate."""


@dataclass(frozen=True, slots=True)
class Typed:
    """How somebody names the vehicle: by its plate, or by the ticket that it has instead; `coupon`: one to hand in."""

    plate: str = ""
    ticket: str = ""
    coupon: str = ""


def _typed(
    plate: Annotated[str, Form(max_length=64)] = "",
    ticket: Annotated[str, Form(max_length=32)] = "",
    coupon: Annotated[str, Form(max_length=40)] = "",
) -> Typed:
    return Typed(plate.strip(), ticket.strip(), coupon.strip())


Vehicle = Annotated[Typed, Depends(_typed)]


@router.get("/park/{code}")
async def ask(
    request: Request,
    code: str,
    ticket: Annotated[str, Query(max_length=32)] = "",
    coupon: Annotated[str, Query(max_length=40)] = "",
) -> Response:
    """Asks for the plate, or for the ticket; what a scanned code says is filled in."""
    async with _project(request, code) as (_, project):
        return _page(request, project, code, Typed(ticket=ticket, coupon=coupon))


@router.post("/park/{code}")
async def answer(request: Request, code: str, typed: Vehicle) -> Response:
    """What is to pay for the plate or ticket."""
    began_s = asyncio.get_running_loop().time()
    try:
        async with _project(request, code) as (conn, project):
            wanted = _counted(request, project, typed)
            found = await look_up(conn, project.id, wanted, project.currency, datetime.now(UTC))
    except _REFUSED as error:
        return await _refusal(request, code, typed, error)
    await _late(began_s)
    return _page(request, project, code, typed, found=found)


@router.post("/park/{code}/coupon")
async def hand_in(request: Request, code: str, typed: Vehicle) -> Response:
    """Hands the coupon of a merchant in for the vehicle, and shows what is to pay then."""
    began_s = asyncio.get_running_loop().time()
    try:
        async with _project(request, code) as (conn, project):
            wanted = _counted(request, project, typed)
            now = datetime.now(UTC)
            await redeem_for(conn, project.id, wanted, typed.coupon, "public", now)
            found = await look_up(conn, project.id, wanted, project.currency, now)
    except _REFUSED as error:
        await _late(began_s)
        return await _refusal(request, code, typed, error)
    await _late(began_s)
    return _page(request, project, code, replace(typed, coupon=""), found=found, handed_in=True)


@router.post("/park/{code}/pay")
async def pay(
    request: Request, code: str, typed: Vehicle, channel: Annotated[ChannelName, Form()], mode: Mode = "code"
) -> Response:
    """Asks the provider for an order over what is due now; its page shows the code."""
    try:
        async with _project(request, code) as (conn, project):
            wanted = _counted(request, project, typed)
            payment = WantedPayment(channel, mode, payer_ip=payer_ip(request))
            made = await ask_to_pay_plate(conn, project.id, wanted, payment, channels_of(request), datetime.now(UTC))
    except _REFUSED as error:
        return await _refusal(request, code, typed, error)
    return RedirectResponse(f"/park/{code}/payments/{made.reference}", 303)


@router.get("/park/{code}/payments/{reference}")
async def payment(request: Request, code: str, reference: str) -> Response:
    """The code of a payment while it can be paid, and what became of it. Who knows its number may see it."""
    async with _project(request, code) as (conn, project):
        found = await intents.by_reference(conn, reference)
        if found is None or found.purpose != "parking" or found.project_id != project.id:
            raise NotFound("no-such-payment", "there is no such payment")
    shows_code = found.pay_at is not None and found.state == "pending" and found.mode == "code"
    return render(
        request,
        "parking/public_payment.html",
        code_of_page=code,
        intent=found,
        code=as_png_uri(found.pay_at) if shows_code and found.pay_at else None,
        over=datetime.now(UTC) >= found.expires_at,
        zone=project.zone,
    )


@asynccontextmanager
async def _project(request: Request, code: str) -> AsyncIterator[tuple[Conn, Project]]:
    """A transaction over the one project whose page it is; pages show nothing of it but what is due.

    Raises NotFound.
    """
    db: Database = request.app.state.db
    async with db.transaction(NOBODY) as conn:
        project_id = await project_of_code(conn, code) if code.isalnum() and code.isascii() else None
    if project_id is None:
        raise NotFound("no-such-address", "Not Found")
    asker = Asker("staff", (project_id,)).named(f"pay-by-plate {request.state.request_id}")
    async with db.transaction(asker) as conn:
        yield conn, await estate.get_project(conn, project_id)


def _counted(request: Request, project: Project, typed: Typed) -> str:
    """The plate or what stands for it, once the attempt is counted. Raises TooManyRequests and InvalidInput."""
    client = request.client.host if request.client else ""
    text = typed.ticket or typed.plate
    request.app.state.plate_throttle.count(client, f"{project.id} {''.join(filter(str.isalnum, text))}")
    return ticket_plate(bare_ticket(typed.ticket)) if typed.ticket else valid_plate(typed.plate)


async def _late(began_s: float) -> None:
    await asyncio.sleep(max(0, began_s + _ANSWERS_AFTER_S - asyncio.get_running_loop().time()))


async def _refusal(request: Request, code: str, typed: Typed, error: GatemeterError) -> Response:
    async with _project(request, code) as (_, project):
        return _page(request, project, code, typed, error=error.code, status=error.status)


def _page(
    request: Request,
    project: Project,
    code: str,
    typed: Typed,
    *,
    error: str = "",
    status: int = 200,
    found: OwedByPlate | None = None,
    handed_in: bool = False,
) -> Response:
    return render(
        request,
        "parking/public.html",
        status=status,
        project=project,
        code_of_page=code,
        typed=typed,
        error=error,
        found=found,
        handed_in=handed_in,
        channels=sorted(channels_of(request)),
    )
