"""Pages of what is odd about passages: incidents, one passage and its plate, times to repair, policies of lots."""

from typing import Annotated, Literal
from uuid import UUID

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import NotFound
from cloud.kit.forms import local_instant, read, typed
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.routing import page_router
from cloud.parking.charging.public_address import place_for
from cloud.parking.pictures import service as pictures
from cloud.parking.places.service import get_lot, list_lots
from cloud.parking.plates import bare_plate
from cloud.parking.stays import corrections, incidents, policies, set_aside, tickets
from cloud.parking.stays.incident_repository import KINDS, IncidentFilter
from cloud.parking.stays.policy import LotPolicy

router = page_router()

_SHOWN = 25
_CLASSES = ("", "small", "large", "new-energy")
"""Classes of vehicles that cameras tell apart; the form has a row for each that has no other in the policy."""

Operator = Annotated[Scope, allow_page("parking.operate")]
Writer = Annotated[Scope, allow_page("parking.write")]
Reason = Annotated[str, Form(max_length=200)]


@router.get("/parking/incidents")
async def list_incidents(
    request: Request,
    scope: Operator,
    state: Literal["", "open", "seen", "resolved"] = "open",
    kind: OptionalText = None,
    lot_id: OptionalId = None,
    plate: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """What was odd about passages, those that nobody has looked at first asked for."""
    page = await shown(request, scope)
    wanted = IncidentFilter(
        page.project.id,
        lot_id,
        kind if kind in KINDS else None,
        state or None,
        bare_plate(plate) if plate else None,
    )
    return page.page(
        "parking/incidents.html",
        found=await incidents.list_incidents(scope.conn, page_request(_SHOWN, cursor, key_length=3), wanted),
        wanted=wanted,
        kinds=KINDS,
        lots=(await list_lots(scope.conn, PageRequest(MAX_LIMIT), page.project.id)).items,
        aside=(await set_aside.list_set_aside(scope.conn, PageRequest(1), page.project.id)).items,
    )


@router.post("/parking/passages/{passage_id}/incidents/{kind}")
async def handle_incident(
    scope: Operator, passage_id: UUID, kind: str, state: Annotated[Literal["seen", "resolved"], Form()],
    note: Annotated[str, Form(max_length=500)] = "",
) -> Response:  # fmt: skip
    """Says that an incident was seen, or resolved."""
    await incidents.handle_incident(scope.conn, passage_id, kind, state, note, scope.caller.actor)
    return RedirectResponse(f"/parking/passages/{passage_id}?done=noted", 303)


@router.get("/parking/passages/{passage_id}")
async def passage(request: Request, scope: Operator, passage_id: UUID) -> Response:
    """One passage: what was read, what was said of it, what it may be."""
    page = await shown(request, scope)
    found = await corrections.find_passage(scope.conn, passage_id)
    ticket = await tickets.ticket_of(scope.conn, passage_id)
    return page.page(
        "parking/passage.html",
        passage=found,
        said=await corrections.corrections_of(scope.conn, passage_id),
        candidates=await corrections.candidates(scope.conn, passage_id),
        incidents=await incidents.incidents_of(scope.conn, passage_id),
        ticket=ticket,
        place=ticket and await place_for(request, scope.conn, ticket.project_id, ticket=ticket.code),
        pictured=await pictures.is_here(scope.conn, passage_id),
    )


@router.post("/parking/passages/{passage_id}/plate")
async def correct_plate(
    scope: Operator, passage_id: UUID, plate: Annotated[str, Form(max_length=64)], reason: Reason
) -> Response:
    """Says that a passage's vehicle has another plate than was read."""
    await corrections.correct_plate(scope.conn, passage_id, plate, reason, scope.caller.actor)
    return RedirectResponse(f"/parking/passages/{passage_id}?done=corrected", 303)


@router.post("/parking/passages/{passage_id}/ticket")
async def issue_ticket(scope: Operator, passage_id: UUID) -> Response:
    """A ticket for a vehicle without a plate."""
    await tickets.issue_ticket(scope.conn, passage_id, scope.caller.actor)
    return RedirectResponse(f"/parking/passages/{passage_id}", 303)


@router.get("/parking/passages/{passage_id}/ticket")
async def print_ticket(request: Request, scope: Operator, passage_id: UUID) -> Response:
    """The ticket alone, to be printed or held before a phone."""
    page = await shown(request, scope)
    ticket = await tickets.ticket_of(scope.conn, passage_id)
    if ticket is None:
        raise NotFound("no-ticket", "no ticket was given at this passage")
    return page.page(
        "parking/ticket.html",
        ticket=ticket,
        passage=await corrections.find_passage(scope.conn, passage_id),
        place=await place_for(request, scope.conn, ticket.project_id, ticket=ticket.code),
    )


@router.post("/parking/passages/{passage_id}/ticket-shown")
async def show_ticket(scope: Operator, passage_id: UUID, code: Annotated[str, Form(max_length=32)]) -> Response:
    """Binds the vehicle at an exit to the stay of its ticket."""
    found = await corrections.find_passage(scope.conn, passage_id)
    ticket = await tickets.find_ticket(scope.conn, found.project_id, code)
    session_id = await tickets.show_ticket(scope.conn, ticket, passage_id, scope.caller.actor)
    return RedirectResponse(f"/parking/sessions/{session_id}", 303)


@router.post("/parking/plate-corrections/{correction_id}/undo")
async def undo_correction(scope: Operator, correction_id: int, reason: Reason) -> Response:
    """Takes a correction back."""
    undone = await corrections.undo_correction(scope.conn, correction_id, reason, scope.caller.actor)
    return RedirectResponse(f"/parking/passages/{undone.passage_id}?done=correction-undone", 303)


@router.get("/parking/set-aside")
async def list_set_aside(request: Request, scope: Operator, cursor: str | None = None) -> Response:
    """Passages that no lane could take, or whose time cannot be."""
    page = await shown(request, scope)
    found = await set_aside.list_set_aside(scope.conn, page_request(_SHOWN, cursor, key_length=2), page.project.id)
    return page.page("parking/set_aside.html", found=found, told_at=set_aside.told_at)


@router.post("/parking/set-aside/{passage_id}/repair")
async def repair_time(
    request: Request, scope: Operator, passage_id: UUID, taken_at: Annotated[str, Form()], reason: Reason
) -> Response:
    """Says when a passage really was, on the clock of the project."""
    page = await shown(request, scope)
    at = local_instant(taken_at, page.project.zone, "taken_at")
    await set_aside.repair_time(scope.conn, passage_id, at, reason, scope.caller.actor)
    return RedirectResponse("/parking/set-aside?done=repaired", 303)


@router.get("/parking/lots/{lot_id}/policy")
async def policy(request: Request, scope: Operator, lot_id: int) -> Response:
    """The policy of a lot, to be changed by those who may."""
    page = await shown(request, scope)
    lot = await get_lot(scope.conn, lot_id)
    found = await policies.get_policy(scope.conn, lot_id)
    answers = {one.vehicle_class: one for one in found.unseen_entry}
    return page.page(
        "parking/policy.html",
        lot=lot,
        policy=found,
        answers=answers,
        classes=[*_CLASSES, *sorted(answers.keys() - set(_CLASSES))],
        may_write=scope.caller.may("parking.write", lot.project_id),
    )


@router.post("/parking/lots/{lot_id}/policy")
async def set_policy(request: Request, scope: Writer, lot_id: int) -> Response:
    """Puts the policy of the form in force."""
    fields = await typed(request)
    answers = [
        {
            "vehicle_class": name.removeprefix("then-"),
            "then": then,
            "amount": fields.get(f"amount-{name.removeprefix('then-')}") if then == "fixed-charge" else None,
        }
        for name, then in fields.items()
        if name.startswith("then-")
    ]
    own = {name: value for name, value in fields.items() if name in LotPolicy.model_fields}
    await policies.set_policy(scope.conn, lot_id, read(LotPolicy, {**own, "unseen_entry": answers}), scope.caller.actor)
    return RedirectResponse(f"/parking/lots/{lot_id}/policy?done=saved", 303)
