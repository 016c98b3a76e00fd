"""Stays as people look at them and end them by hand."""

from datetime import UTC, datetime

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.records import (
    Session,
    SessionDetail,
    SessionFilter,
)
from cloud.parking.stays import reading_repository as repository
from cloud.parking.stays import repository as store


async def list_sessions(conn: Conn, page: PageRequest, wanted: SessionFilter) -> Page[Session]:
    """Stays, newest first; residents see those of their own vehicles."""
    return await repository.sessions(conn, page, wanted)


async def get_session(conn: Conn, session_id: int) -> SessionDetail:
    """A stay with its passages and payments. Raises NotFound."""
    session = await find_session(conn, session_id)
    payments = await repository.payments(conn, [session_id])
    return SessionDetail(session, await repository.passages(conn, session_id), payments.get(session_id, []))


async def find_session(conn: Conn, session_id: int) -> Session:
    """One stay. Raises NotFound."""
    found = await repository.session(conn, session_id)
    if found is None:
        raise NotFound("no-session", f"there is no parking session {session_id}", field="session_id")
    return found


async def locked_session(conn: Conn, session_id: int) -> Session:
    """A stay whose plate nobody else works on until the transaction ends. Raises NotFound, Conflict when it changed."""
    before = await find_session(conn, session_id)
    await store.lock_plates(conn, before.project_id, [store.lock_name(before.plate, before.id)])
    session = await find_session(conn, session_id)
    if session.plate != before.plate:
        raise Conflict("changed-meanwhile", "the plate of this stay has just been changed: look again")
    return session


async def close_session(conn: Conn, session_id: int, reason: str, actor: str, at: datetime | None = None) -> None:
    """Ends a stay whose vehicle is known to be gone although nobody saw it leave, so that it is not counted inside.

    The stay becomes `unmatched`: nobody knows how long it was, and nothing is charged for it. Who ended it and why is
    kept with it and in the audit trail. Raises NotFound, InvalidInput without a reason, Conflict unless it is open and
    as it was.
    """
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason: every stay closed by hand is accounted for", field="reason")
    if (await locked_session(conn, session_id)).state != "open":
        raise Conflict("not-open", "the stay is over already")
    now = at or datetime.now(UTC)
    await repository.close_session(conn, session_id, now, actor, reason.strip(), now)
