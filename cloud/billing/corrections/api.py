"""REST: adjustments of what was billed, re-rating on demand, credit and debit notes."""

from typing import Annotated

from fastapi import Query, Response

from cloud.billing import service
from cloud.billing.corrections import waiting
from cloud.billing.corrections.models import (
    AdjustmentHistoryOut,
    AdjustmentNoteIn,
    AdjustmentOut,
    AdjustmentQuery,
    FinalBillIn,
    NoteIn,
    RefusalIn,
    RefusalOut,
    RefusalQuery,
    ReRatingIn,
    ReRatingOut,
    SettlementOut,
)
from cloud.billing.corrections.waiting_models import TryAgainIn, WaitingOut, WaitingQuery
from cloud.billing.models import BillOut, RunStartedOut
from cloud.billing.run_answers import started
from cloud.identity.guards import Scope, allow
from cloud.kit.errors import NotFound
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router

router = rest_router("billing")

Reader = Annotated[Scope, allow("bills.read")]
Runner = Annotated[Scope, allow("bills.run")]
Approver = Annotated[Scope, allow("bills.approve")]


@router.get("/adjustments")
async def list_adjustments(scope: Reader, query: Annotated[AdjustmentQuery, Query()]) -> Listed[AdjustmentOut]:
    """Charges that late data made others, newest first; residents see their own."""
    page = await service.list_adjustments(scope.conn, query.page(), query.wanted())
    return Listed(items=[AdjustmentOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/adjustments/{adjustment_id}")
async def get_adjustment(scope: Reader, adjustment_id: Id) -> AdjustmentHistoryOut:
    """An adjustment beside what it corrects: all lines and boundary readings as they were and as they are."""
    return AdjustmentHistoryOut.whole(await service.adjustment_history(scope.conn, adjustment_id))


@router.post("/accounts/{account_id}/re-ratings", status_code=202)
async def rerate(account_id: Id, body: ReRatingIn, response: Response, scope: Runner, once: Once) -> ReRatingOut:
    """Rates what an account was charged for again, by the job that `Location` leads to.

    Late readings need no asking: every night the charges that they touch are rated again.
    """

    async def make() -> ReRatingOut:
        wanted = service.WantedReRating(account_id, body.since, body.cause(), body.open_exceptions)
        job_id = await service.ask_to_rerate(scope.conn, wanted, by=scope.caller.user_id)
        return ReRatingOut(job_id=job_id, job=f"/api/v1/jobs/{job_id}")

    asked = await once.answer(scope.conn, ReRatingOut, make)
    response.headers["Location"] = asked.job
    return asked


@router.get("/late-changes")
async def list_waiting(scope: Runner, query: Annotated[WaitingQuery, Query()]) -> Listed[WaitingOut]:
    """What was read or filed late and waits to be rated again, with the reason why it could not be yet."""
    page = await waiting.list_waiting(scope.conn, query.page(key_length=2), query.wanted())
    return Listed(items=[WaitingOut.model_validate(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/late-changes/re-ratings", status_code=202)
async def try_waiting(body: TryAgainIn, response: Response, scope: Runner, once: Once) -> ReRatingOut:
    """Rates all of a project that waits again now, by the job that `Location` leads to; every night does so anyway."""

    async def make() -> ReRatingOut:
        job_id = await waiting.try_again(scope.conn, body.project_id, by=scope.caller.user_id)
        return ReRatingOut(job_id=job_id, job=f"/api/v1/jobs/{job_id}")

    asked = await once.answer(scope.conn, ReRatingOut, make)
    response.headers["Location"] = asked.job
    return asked


@router.post("/accounts/{account_id}/adjustment-notes", status_code=201)
async def note_of_adjustments(account_id: Id, body: AdjustmentNoteIn, scope: Runner, once: Once) -> BillOut:
    """A draft that takes up all open adjustments of an account: a credit note, or a debit note."""

    async def make() -> BillOut:
        note = await service.note_of_adjustments(scope.conn, account_id, body.reason, by=scope.caller.user_id)
        return BillOut.of(note)

    return await once.answer(scope.conn, BillOut, make)


@router.post("/bills/{bill_id}/notes", status_code=201)
async def note_of_bill(bill_id: Id, body: NoteIn, scope: Runner, once: Once) -> BillOut:
    """A draft of a credit or debit note on lines of an issued bill, with the reason."""

    async def make() -> BillOut:
        by = scope.caller.user_id
        note = await service.note_of_bill(scope.conn, bill_id, body.kind, body.parts(), body.reason, body.cause, by=by)
        return BillOut.of(note)

    return await once.answer(scope.conn, BillOut, make)


@router.get("/notes/{note_id}/settlement")
async def settlement_of_note(scope: Reader, note_id: Id) -> SettlementOut:
    """What an issued credit note has settled, or what one that waits for approval would settle today."""
    bill = await service.get_bill(scope.conn, note_id)
    note = bill.summary
    if note.kind != "credit_note":
        raise NotFound("no-such-note", f"there is no credit note {note_id}", field="note_id")
    given = await service.given(scope.conn, bill)
    if given is None:
        today, _ = await service.terms_today(scope.conn, note.project_id)
        given = await service.preview_note(scope.conn, note.account_id, bill.note.get("bill"), -note.total, today)
    return SettlementOut.of(given, note.currency, issued=note.number is not None)


@router.post("/notes/{note_id}/approvals", status_code=201)
async def approve_note(note_id: Id, scope: Approver, once: Once) -> BillOut:
    """Issues a note that somebody else asked for; a credit note lowers what is open at once."""

    async def make() -> BillOut:
        return BillOut.of(await service.approve_note(scope.conn, note_id, by=scope.caller.user_id))

    return await once.answer(scope.conn, BillOut, make)


@router.post("/notes/{note_id}/cancellations", status_code=201)
async def cancel_note(note_id: Id, body: RefusalIn, scope: Runner, once: Once) -> BillOut:
    """Throws a note away that is not issued, with the reason, and shows it a last time; its adjustments are open again.

    Who refused what and why stays in `/note-refusals`.
    """

    async def make() -> BillOut:
        note = (await service.get_bill(scope.conn, note_id)).summary
        await service.cancel_note(scope.conn, note_id, body.reason, by=scope.caller.user_id)
        return BillOut.of(note)

    return await once.answer(scope.conn, BillOut, make)


@router.get("/note-refusals")
async def note_refusals(scope: Reader, query: Annotated[RefusalQuery, Query()]) -> Listed[RefusalOut]:
    """Notes that were thrown away before they were issued, newest first; for staff."""
    page = await service.list_refusals(
        scope.conn, query.page(), project_id=query.project_id, account_id=query.account_id
    )
    return Listed(items=[RefusalOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/accounts/{account_id}/final-bills", status_code=202)
async def final_bill(account_id: Id, body: FinalBillIn, response: Response, scope: Runner, once: Once) -> RunStartedOut:
    """Ends an account and its agreements, and drafts the bill of all that is not charged yet.

    The run is looked at and approved like any other. Without a reading on the last day it lists the account as failed:
    take the reading, and ask again; or have it estimated, with the reason why none can be had.
    """

    ending = service.Ending(account_id, body.ends_on, body.charged_beyond)
    return await started(
        scope,
        response,
        once,
        lambda: service.start_final_bill(scope.conn, ending, scope.caller.user_id, body.options()),
    )
