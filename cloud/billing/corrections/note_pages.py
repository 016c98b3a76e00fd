"""Pages of credit and debit notes: the list, the form with its preview, and the decision of a second person."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated, Any, Final, Literal

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.billing import service
from cloud.billing.agreements.pages import account_by_number
from cloud.billing.corrections.models import NoteIn
from cloud.billing.records import BillFilter, BillKind, BillRow
from cloud.billing.service import Given
from cloud.estate import service as estate
from cloud.estate.shown import OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError
from cloud.kit.forms import read, typed
from cloud.kit.paging import PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.kit.sent_forms import FormOnce

router = page_router()

Reading = Annotated[Scope, allow_page("bills.read")]
Running = Annotated[Scope, allow_page("bills.run")]
Approving = Annotated[Scope, allow_page("bills.approve")]

_SHOWN: Final = 30
_NOTES: Final[tuple[BillKind, ...]] = ("credit_note", "debit_note")
_AMOUNT: Final = "amount-"


@dataclass(frozen=True, slots=True)
class Previewed:
    """A note as it would be: its total, what a credit note would settle, and when a debit note would be due."""

    total: Decimal
    given: Given | None
    due_on: date | None


@router.get("/notes")
async def notes(
    request: Request,
    scope: Reading,
    kind: Literal["", "credit_note", "debit_note"] = "",
    every: bool = False,
    account: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Notes that wait for approval, or (`every`) all there are."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/bills", 303)
    page = await shown(request, scope)
    payer = None if account is None else await account_by_number(scope.conn, page, account)
    account_id = 0 if account is not None and payer is None else payer.id if payer else None
    wanted = BillFilter(
        page.project.id,
        account_id,
        state=None if every else "draft",
        kinds=(kind,) if kind else _NOTES,
    )
    found = await service.list_bills(scope.conn, page_request(_SHOWN, cursor), wanted)
    refused = await service.list_refusals(
        scope.conn, PageRequest(_SHOWN), project_id=page.project.id, account_id=account_id
    )
    return page.page(
        "billing/notes.html",
        found=found,
        refused=refused.items if every and cursor is None else (),
        zone=page.project.zone,
        accounts=await estate.accounts_by_id(scope.conn, {one.account_id for one in found.items}),
        kind=kind,
        every=every,
        account=account or "",
    )


@router.get("/notes/{note_id}")
async def note(scope: Reading, note_id: int) -> Response:
    """A note is looked at as any other bill."""
    mine = "/my" if scope.caller.kind == "resident" else ""
    return RedirectResponse(f"{mine}/bills/{note_id}", 303)


@router.get("/bills/{bill_id}/notes/new")
async def new_note(request: Request, scope: Running, bill_id: int) -> Response:
    """The lines of a bill, and what may be taken off each of them."""
    return await _form(request, scope, bill_id, {"kind": "credit_note"})


@router.post("/bills/{bill_id}/notes")
async def make_note(request: Request, scope: Running, bill_id: int, sent: FormOnce) -> Response:
    """Says first what a note does; sent with the second button it is asked for."""
    values = await typed(request)
    by = scope.caller.user_id
    try:
        body = read(NoteIn, _told(values))

        async def ask() -> BillRow:
            parts = body.parts()
            return await service.note_of_bill(scope.conn, bill_id, body.kind, parts, body.reason, body.cause, by=by)

        async def lead() -> str:
            return f"/bills/{(await ask()).id}?done=asked"

        if values.get("sure") == "yes":
            return await sent.lead(scope.conn, lead)
        async with scope.conn.transaction(force_rollback=True):
            draft = await ask()
        preview = await previewed(scope, draft, bill_id)
        return await _form(request, scope, bill_id, values, preview=preview)
    except GatemeterError as error:
        return await _form(request, scope, bill_id, values, problem=error)


@router.post("/notes/{note_id}/approve")
async def approve(scope: Approving, note_id: int) -> Response:
    """Issues a note that somebody else asked for."""
    await service.approve_note(scope.conn, note_id, by=scope.caller.user_id)
    return RedirectResponse(f"/bills/{note_id}?done=note-issued", 303)


@router.post("/notes/{note_id}/refuse")
async def refuse(scope: Running, note_id: int, reason: Annotated[str, Form(max_length=1000)]) -> Response:
    """Throws a note away that waits for approval, and keeps why."""
    await service.cancel_note(scope.conn, note_id, reason, by=scope.caller.user_id)
    return RedirectResponse("/notes?done=note-refused", 303)


async def previewed(scope: Scope, note: BillRow, bill_id: int | None) -> Previewed:
    """What a draft of a note would come to today."""
    today, policy = await service.terms_today(scope.conn, note.project_id)
    if note.kind != "credit_note":
        return Previewed(note.total, None, today + timedelta(days=policy.due_days))
    given = await service.preview_note(scope.conn, note.account_id, bill_id, -note.total, today)
    return Previewed(note.total, given, None)


def _told(values: Mapping[str, str]) -> dict[str, Any]:
    """Fields `amount-3` are the amount of line 3."""
    lines = [
        {"position": int(name.removeprefix(_AMOUNT)), "amount": value}
        for name, value in values.items()
        if name.startswith(_AMOUNT) and name.removeprefix(_AMOUNT).isdecimal()
    ]
    kind = values.get("kind")
    # Only what takes off can be a gift: what was chosen before the kind was changed is no mistake.
    cause = values.get("cause", "error") if kind == "credit_note" else "error"
    return {"kind": kind, "reason": values.get("reason", ""), "cause": cause, "lines": lines}


async def _form(
    request: Request,
    scope: Scope,
    bill_id: int,
    values: Mapping[str, str],
    *,
    preview: Previewed | None = None,
    problem: GatemeterError | None = None,
) -> Response:
    page = await shown(request, scope)
    bill = (await service.get_bill(scope.conn, bill_id)).summary
    return page.page(
        "billing/note_new.html",
        status=problem.status if problem else 200,
        bill=bill,
        account=(await estate.accounts_by_id(scope.conn, [bill.account_id])).get(bill.account_id),
        lines=await service.creditable(scope.conn, bill_id),
        waiting=await service.waiting_notes(scope.conn, bill_id),
        values=values,
        preview=preview,
        problem=problem,
    )
