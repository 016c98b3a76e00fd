"""REST: concessions filed, approved and ended."""

from typing import Annotated

from fastapi import Query

from cloud.billing.agreements.models import EndIn
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.models import ApprovalIn, ConcessionIn, ConcessionOut, ConcessionQuery
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router

router = rest_router("billing")

Runner = Annotated[Scope, allow("bills.run")]
Approver = Annotated[Scope, allow("bills.approve")]


@router.get("/concessions")
async def list_concessions(scope: Runner, query: Annotated[ConcessionQuery, Query()]) -> Listed[ConcessionOut]:
    """Concessions by id."""
    page = await conceded.list_concessions(scope.conn, query.page(), query.wanted())
    return Listed(items=[ConcessionOut.of(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/concessions/{concession_id}")
async def get_concession(scope: Runner, concession_id: Id) -> ConcessionOut:
    """One concession."""
    return ConcessionOut.of(await conceded.get_concession(scope.conn, concession_id))


@router.post("/concessions", status_code=201)
async def file_concession(body: ConcessionIn, scope: Runner, once: Once) -> ConcessionOut:
    """Files a concession; nothing is taken off before it is approved."""

    async def make() -> ConcessionOut:
        made = await conceded.file_concession(scope.conn, body.project_id, body.new(), scope.caller.user_id)
        return ConcessionOut.of(made)

    return await once.answer(scope.conn, ConcessionOut, make)


@router.post("/concessions/{concession_id}/approvals", status_code=201)
async def approve_concession(concession_id: Id, body: ApprovalIn, scope: Approver, once: Once) -> ConcessionOut:
    """Approves a concession that somebody else filed: runs take it off from now on, and it is only ended after that."""

    async def make() -> ConcessionOut:
        row = await conceded.approve_concession(scope.conn, concession_id, scope.caller.user_id, body.reason)
        return ConcessionOut.of(row)

    return await once.answer(scope.conn, ConcessionOut, make)


@router.post("/concessions/{concession_id}/endings", status_code=201)
async def end_concession(concession_id: Id, body: EndIn, scope: Approver, once: Once) -> ConcessionOut:
    """Ends a concession on a day that bills have not taken it off beyond."""

    async def make() -> ConcessionOut:
        return ConcessionOut.of(await conceded.end_concession(scope.conn, concession_id, body.day))

    return await once.answer(scope.conn, ConcessionOut, make)


@router.delete("/concessions/{concession_id}", status_code=204)
async def withdraw_concession(concession_id: Id, scope: Runner) -> None:
    """Takes back a concession that nobody has approved."""
    await conceded.withdraw_concession(scope.conn, concession_id)
