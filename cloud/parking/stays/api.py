"""REST: stays, what they were, and ending one by hand."""

from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.parking import service
from cloud.parking.stays.models import ClosingIn, SessionDetailOut, SessionOut, SessionQuery

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Operator = Annotated[Scope, allow("parking.operate")]


@router.get("/parking-sessions")
async def list_sessions(scope: Reader, query: Annotated[SessionQuery, Query()]) -> Listed[SessionOut]:
    """Stays, newest first; residents see those of their own vehicles."""
    page = await service.list_sessions(scope.conn, query.page(key_length=2), query.wanted())
    return Listed(items=[SessionOut.of(session) for session in page.items], next_cursor=page.next_cursor)


@router.get("/parking-sessions/{session_id}")
async def get_session(session_id: Id, scope: Reader) -> SessionDetailOut:
    """One stay with the steps of its fee, its passages and its payments."""
    return SessionDetailOut.of_detail(await service.get_session(scope.conn, session_id))


@router.post("/parking-sessions/{session_id}/closings", status_code=201)
async def close_session(session_id: Id, body: ClosingIn, scope: Operator, once: Once) -> SessionDetailOut:
    """Ends a stay whose vehicle is gone although nobody saw it leave; actor and reason are kept, nothing is charged."""

    async def make() -> SessionDetailOut:
        await service.close_session(scope.conn, session_id, body.reason, scope.caller.actor)
        return SessionDetailOut.of_detail(await service.get_session(scope.conn, session_id))

    return await once.answer(scope.conn, SessionDetailOut, make)
