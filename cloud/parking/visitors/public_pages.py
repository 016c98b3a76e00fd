"""Paying by plate without signing in: a page per project, found by a code on a sign.

It says what is to pay and since about when, nothing else. A plate that is unknown and one that owes nothing get the
same answer after the same time; how often one may ask is counted per address and per plate.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing.documents.payment_code import as_png_uri
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.identity.guards import public
from cloud.kit.db import NOBODY, Asker, Conn, Database
from cloud.kit.errors import Conflict, InvalidInput, NotFound, TooManyRequests
from cloud.kit.pages import render
from cloud.parking.charging.online import ask_to_pay_plate
from cloud.parking.charging.policy import project_of_code
from cloud.parking.plates import valid_plate
from cloud.parking.visitors.looking_up import look_up
from cloud.payments import intents
from cloud.payments.channels.base import ChannelName, Mode
from cloud.payments.intent_api import channels_of, payer_ip
from cloud.payments.intents import WantedPayment

router = APIRouter(include_in_schema=False, dependencies=[public()])

FormPlate = Annotated[str, Form(max_length=64)]

_ANSWERS_AFTER_S: Final = 0.3
"""Longer than any look-up takes: how long one took says nothing about the plate."""


@router.get("/park/{code}")
async def ask(request: Request, code: str) -> Response:
    """Asks for the plate."""
    async with _project(request, code) as (_, project):
        return _page(request, project, code)


@router.post("/park/{code}")
async def answer(request: Request, code: str, plate: FormPlate = "") -> Response:
    """What is to pay for the plate."""
    began = asyncio.get_running_loop().time()
    try:
        async with _project(request, code) as (conn, project):
            wanted = _counted(request, project, plate)
            found = await look_up(conn, project.id, wanted, project.currency, datetime.now(UTC))
    except (InvalidInput, TooManyRequests) as error:
        async with _project(request, code) as (_, project):
            return _page(request, project, code, plate=plate, error=error.code, status=error.status)
    await asyncio.sleep(max(0, began + _ANSWERS_AFTER_S - asyncio.get_running_loop().time()))
    return _page(request, project, code, plate=found.plate, found=found)


@router.post("/park/{code}/pay")
async def pay(
    request: Request, code: str, plate: FormPlate, channel: Annotated[ChannelName, Form()], mode: Mode = "code"
) -> Response:
    """Asks the provider for an order over what is due now; its page shows the code."""
    try:
        async with _project(request, code) as (conn, project):
            wanted = _counted(request, project, plate)
            payment = WantedPayment(channel, mode, payer_ip=payer_ip(request))
            made = await ask_to_pay_plate(conn, project.id, wanted, payment, channels_of(request), datetime.now(UTC))
    except (InvalidInput, TooManyRequests, Conflict) as error:
        async with _project(request, code) as (_, project):
            return _page(request, project, code, plate=plate, error=error.code, status=error.status)
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
        project=project,
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


def _counted(request: Request, project: Project, text: str) -> str:
    """The plate, once the attempt is counted. Raises TooManyRequests and InvalidInput."""
    client = request.client.host if request.client else ""
    request.app.state.plate_throttle.count(client, f"{project.id} {''.join(filter(str.isalnum, text))}")
    return valid_plate(text)


def _page(
    request: Request,
    project: Project,
    code: str,
    *,
    plate: str = "",
    error: str = "",
    status: int = 200,
    found: Any = None,
) -> Response:
    return render(
        request,
        "parking/public.html",
        status=status,
        project=project,
        code_of_page=code,
        plate=plate,
        error=error,
        found=found,
        channels=sorted(channels_of(request)),
    )
