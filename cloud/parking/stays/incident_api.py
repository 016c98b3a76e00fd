"""REST: what is odd about passages and what people decide: plates, tickets, times, policies, openings by hand."""

from typing import Annotated
from uuid import UUID

from fastapi import Query, Request

from cloud.identity.guards import Scope, allow
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.kit.routing import rest_router
from cloud.parking.charging.public_address import place_for
from cloud.parking.stays import corrections, incidents, openings, policies, set_aside, tickets
from cloud.parking.stays.incident_models import (
    CorrectionIn,
    CorrectionOut,
    HandlingIn,
    IncidentOut,
    IncidentQuery,
    OpeningQuery,
    OpeningRowOut,
    PassageDetailOut,
    SetAsideOut,
    ShowingIn,
    ShowingOut,
    TicketIn,
    TicketOut,
    TimeRepairIn,
    TimeRepairOut,
    UndoingIn,
)
from cloud.parking.stays.policy import LotPolicy

router = rest_router("parking")

Staff = Annotated[Scope, allow("parking.operate")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/parking-incidents")
async def list_incidents(scope: Staff, query: Annotated[IncidentQuery, Query()]) -> Listed[IncidentOut]:
    """What was odd about passages, the latest first, with what was done about it."""
    page = await incidents.list_incidents(scope.conn, query.page(key_length=3), query.wanted())
    return Listed(items=[IncidentOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/parking-passages/{passage_id}/incident-handlings", status_code=201)
async def handle_incident(passage_id: UUID, body: HandlingIn, scope: Staff, once: Once) -> IncidentOut:
    """Says that an incident was seen, or resolved with a note; who and when is kept."""

    async def make() -> IncidentOut:
        actor = scope.caller.actor
        handled = await incidents.handle_incident(scope.conn, passage_id, body.kind, body.state, body.note, actor)
        return IncidentOut.of(handled)

    return await once.answer(scope.conn, IncidentOut, make)


@router.get("/parking-passages/{passage_id}")
async def get_passage(passage_id: UUID, scope: Staff) -> PassageDetailOut:
    """One passage, what was said of its plate, and the vehicles inside that it may be."""
    passage = await corrections.find_passage(scope.conn, passage_id)
    said = await corrections.corrections_of(scope.conn, passage_id)
    return PassageDetailOut.of(passage, said, await corrections.candidates(scope.conn, passage_id))


@router.post("/parking-passages/{passage_id}/plate-corrections", status_code=201)
async def correct_plate(passage_id: UUID, body: CorrectionIn, scope: Staff, once: Once) -> CorrectionOut:
    """Says that a passage's vehicle has another plate than was read; its stays are matched anew."""

    async def make() -> CorrectionOut:
        actor = scope.caller.actor
        return CorrectionOut.of(await corrections.correct_plate(scope.conn, passage_id, body.plate, body.reason, actor))

    return await once.answer(scope.conn, CorrectionOut, make)


@router.post("/plate-corrections/{correction_id}/reversals", status_code=201)
async def undo_correction(correction_id: Id, body: UndoingIn, scope: Staff, once: Once) -> CorrectionOut:
    """Takes a correction back; what counted before it counts again."""

    async def make() -> CorrectionOut:
        undone = await corrections.undo_correction(scope.conn, correction_id, body.reason, scope.caller.actor)
        return CorrectionOut.of(undone)

    return await once.answer(scope.conn, CorrectionOut, make)


@router.post("/parking-tickets", status_code=201)
async def issue_ticket(request: Request, body: TicketIn, scope: Staff, once: Once) -> TicketOut:
    """A ticket for a vehicle without a plate at an entry; the same one if it has one already."""

    async def make() -> TicketOut:
        passage_id = await _vehicle(scope.conn, body.passage_id, body.lane_id)
        ticket = await tickets.issue_ticket(scope.conn, passage_id, scope.caller.actor)
        return TicketOut.of(ticket, await place_for(request, scope.conn, ticket.project_id, ticket=ticket.code))

    return await once.answer(scope.conn, TicketOut, make)


@router.post("/parking-ticket-showings", status_code=201)
async def show_ticket(body: ShowingIn, scope: Staff, once: Once) -> ShowingOut:
    """Binds the vehicle at an exit to the stay of its ticket, which can be paid for then."""

    async def make() -> ShowingOut:
        ticket = await tickets.find_ticket(scope.conn, body.project_id, body.code)
        passage_id = await _vehicle(scope.conn, body.passage_id, body.lane_id)
        return ShowingOut(session_id=await tickets.show_ticket(scope.conn, ticket, passage_id, scope.caller.actor))

    return await once.answer(scope.conn, ShowingOut, make)


@router.get("/set-aside-passages")
async def list_set_aside(scope: Staff, query: Annotated[ListQuery, Query()]) -> Listed[SetAsideOut]:
    """Passages of devices that are no lane, or with a time that cannot be, the last received first."""
    page = await set_aside.list_set_aside(scope.conn, query.page(key_length=2), query.project_id)
    return Listed(items=[SetAsideOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/set-aside-passages/{passage_id}/time-repairs", status_code=201)
async def repair_time(passage_id: UUID, body: TimeRepairIn, scope: Staff, once: Once) -> TimeRepairOut:
    """Says when a passage with an impossible time really was; it is taken in then."""

    async def make() -> TimeRepairOut:
        actor = scope.caller.actor
        applied = await set_aside.repair_time(scope.conn, passage_id, body.taken_at, body.reason, actor)
        return TimeRepairOut(stored=applied.stored > 0)

    return await once.answer(scope.conn, TimeRepairOut, make)


@router.get("/parking-manual-openings")
async def list_openings(scope: Staff, query: Annotated[OpeningQuery, Query()]) -> Listed[OpeningRowOut]:
    """Barriers opened by hand in a time, the latest first, with the vehicles that went through."""
    found = await openings.list_openings(
        scope.conn, query.page(), query.project_id, query.since, query.until, query.lane_id
    )
    return Listed(items=[OpeningRowOut.of(one) for one in found.items], next_cursor=found.next_cursor)


@router.get("/parking-lots/{lot_id}/policy")
async def get_policy(lot_id: Id, scope: Staff) -> LotPolicy:
    """What the lot wants where passages leave a choice."""
    return await policies.get_policy(scope.conn, lot_id)


@router.put("/parking-lots/{lot_id}/policy")
async def set_policy(lot_id: Id, body: LotPolicy, scope: Writer) -> LotPolicy:
    """Puts a policy in force for what is matched from now on; the audit trail keeps the one before."""
    return await policies.set_policy(scope.conn, lot_id, body, scope.caller.actor)


async def _vehicle(conn: Conn, passage_id: UUID | None, lane_id: int | None) -> UUID:
    if (passage_id is None) == (lane_id is None):
        raise InvalidInput("passage-or-lane", "expected either a passage or a lane", field="passage_id")
    if passage_id is not None:
        return passage_id
    assert lane_id is not None
    return await tickets.vehicle_at_lane(conn, lane_id)
