"""Incidents as people see and handle them. That there is one follows from the passages; what was done is kept."""

from datetime import UTC, datetime
from typing import Literal
from uuid import UUID

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.stays import incident_repository as repository
from cloud.parking.stays.incident_repository import KINDS, Incident, IncidentFilter

HandledState = Literal["seen", "resolved"]


async def list_incidents(conn: Conn, page: PageRequest, wanted: IncidentFilter) -> Page[Incident]:
    """Incidents, the latest passage first."""
    return await repository.incidents(conn, page, wanted)


async def get_incident(conn: Conn, passage_id: UUID, kind: str) -> Incident:
    """One incident. Raises NotFound, also when a later passage has shown that there was none."""
    found = await repository.incident(conn, passage_id, kind) if kind in KINDS else None
    if found is None:
        raise NotFound("no-incident", f"passage {passage_id} has no incident {kind}", field="kind")
    return found


async def handle_incident(
    conn: Conn, passage_id: UUID, kind: str, state: HandledState, note: str, actor: str, at: datetime | None = None
) -> Incident:
    """Says that an incident was seen, or resolved, which needs a note. Raises NotFound, InvalidInput."""
    if state == "resolved" and not note.strip():
        raise InvalidInput("no-note", "expected a note: what was found and done", field="note")
    found = await get_incident(conn, passage_id, kind)
    await repository.handle(conn, found, state, note.strip(), actor, at or datetime.now(UTC))
    return await get_incident(conn, passage_id, kind)


async def incidents_of(conn: Conn, passage_id: UUID) -> list[Incident]:
    """What was odd about a passage."""
    found = [await repository.incident(conn, passage_id, kind) for kind in KINDS]
    return [one for one in found if one is not None]


async def unseen_incidents(conn: Conn, project_id: int, since: datetime) -> int:
    """How many incidents since then nobody has looked at."""
    return await repository.waiting(conn, project_id, since)
