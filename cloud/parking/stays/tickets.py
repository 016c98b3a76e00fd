"""Tickets of vehicles without a plate: given at the entry, shown at the exit; the code stands for the plate."""

import secrets
from datetime import UTC, datetime
from typing import Final
from uuid import UUID

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.parking.charging.service import WAITS_AT_MOST
from cloud.parking.places.service import get_lane
from cloud.parking.stays import passage_repository as repository
from cloud.parking.stays.corrections import find_passage, say_plate
from cloud.parking.stays.likeness import TICKET_SIGN
from cloud.parking.stays.passage_repository import PassageRow, Ticket

_SIGNS: Final = "ACDEFHJKLMNPRTUVWXY34679"
"""Without those that people take for one another."""
_LENGTH: Final = 8


def ticket_plate(code: str) -> str:
    """What stands for the plate of the vehicle that has the ticket."""
    return TICKET_SIGN + code


async def ticket_of_vehicle(conn: Conn, project_id: int, plate: str) -> Ticket | None:
    """The ticket that stands for a vehicle; None for one with a plate."""
    return await repository.ticket(conn, project_id, plate[1:]) if plate.startswith(TICKET_SIGN) else None


async def issue_ticket(conn: Conn, passage_id: UUID, actor: str, at: datetime | None = None) -> Ticket:
    """A ticket for a vehicle at an entry, or that went in there, whose plate was not read; the same one if asked again.

    Raises NotFound; Conflict for an exit and for a vehicle whose plate is known.
    """
    passage = await find_passage(conn, passage_id)
    known = await repository.ticket_of(conn, passage_id)
    if known is not None:
        return known
    _check(passage, "entry")
    code = "".join(secrets.choice(_SIGNS) for _ in range(_LENGTH))
    ticket = await repository.insert_ticket(conn, passage.project_id, passage_id, code, actor)
    await say_plate(conn, passage_id, ticket_plate(code), "ticket", actor, at)
    return ticket


async def show_ticket(conn: Conn, ticket: Ticket, passage_id: UUID, actor: str, at: datetime | None = None) -> int:
    """Binds the vehicle at an exit to the stay of its ticket, which may be paid for and let out then; gives the stay.

    Raises NotFound; Conflict for an entry, for a vehicle whose plate is known, and when the ticket's vehicle has not
    gone in.
    """
    passage = await find_passage(conn, passage_id)
    if passage.project_id != ticket.project_id:
        raise NotFound("no-passage", f"there is no passage {passage_id}", field="passage_id")
    if passage.plate != ticket_plate(ticket.code):
        _check(passage, "exit")
        await say_plate(conn, passage_id, ticket_plate(ticket.code), "ticket", actor, at)
    session_id = (await find_passage(conn, passage_id)).session_id
    if session_id is None:
        raise Conflict("ticket-not-inside", "the vehicle that got this ticket is not inside")
    return session_id


def bare_ticket(text: str) -> str:
    """The code of a ticket as it is kept: capitals without what groups them. Raises InvalidInput for another length."""
    bare = "".join(char for char in text.upper() if char.isascii() and char.isalnum())
    if len(bare) != _LENGTH:
        raise InvalidInput("bad-ticket", f"expected the {_LENGTH} letters and digits of a ticket", field="ticket")
    return bare


async def find_ticket(conn: Conn, project_id: int, code: str) -> Ticket:
    """A ticket by what is printed on it. Raises NotFound."""
    bare = "".join(char for char in code.upper() if char.isalnum())
    found = await repository.ticket(conn, project_id, bare)
    if found is None:
        raise NotFound("no-ticket", "there is no such ticket", field="code")
    return found


async def ticket_of(conn: Conn, passage_id: UUID) -> Ticket | None:
    """The ticket that was given at a passage."""
    return await repository.ticket_of(conn, passage_id)


async def vehicle_at_lane(conn: Conn, lane_id: int, at: datetime | None = None) -> UUID:
    """The vehicle without a plate that stands at a lane now. Raises NotFound."""
    lane = await get_lane(conn, lane_id)
    found = await repository.unread_at_lane(conn, lane.id, (at or datetime.now(UTC)) - WAITS_AT_MOST)
    if found is None:
        raise NotFound("no-vehicle-at-lane", "no vehicle without a plate stands at this lane", field="lane_id")
    return found


def _check(passage: PassageRow, direction: str) -> None:
    if passage.direction != direction:
        raise Conflict("wrong-direction", f"a ticket is for an {direction} here", field="passage_id")
    if passage.plate:
        raise Conflict("plate-known", "the plate of this vehicle is known", field="passage_id")
