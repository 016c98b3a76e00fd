"""What staff say of plates: decisions that are kept, taken back, and part of what stays are matched from."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import UUID

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.parking.plates import valid_plate
from cloud.parking.records import Session
from cloud.parking.stays import passage_repository as repository
from cloud.parking.stays.applying import apply_changes
from cloud.parking.stays.likeness import confusable, one_edit_apart
from cloud.parking.stays.passage_repository import Correction, PassageRow
from cloud.parking.stays.rebuilding import lock
from cloud.parking.stays.repository import lock_name
from cloud.parking.stays.service import find_session


@dataclass(frozen=True, slots=True)
class Candidate:
    """A vehicle inside whose plate may have been misread; `looks_alike`: in one sign that looks like another."""

    session: Session
    looks_alike: bool


async def find_passage(conn: Conn, passage_id: UUID) -> PassageRow:
    """One passage. Raises NotFound."""
    found = await repository.passage(conn, passage_id)
    if found is None:
        raise NotFound("no-passage", f"there is no passage {passage_id}", field="passage_id")
    return found


async def corrections_of(conn: Conn, passage_id: UUID) -> list[Correction]:
    """What was said of a passage's plate, the first first."""
    return await repository.corrections(conn, passage_id)


async def correct_plate(
    conn: Conn, passage_id: UUID, plate: str, reason: str, actor: str, at: datetime | None = None
) -> Correction:
    """Says that the vehicle of a passage has another plate than was read; its stays are matched anew.

    What the camera read is kept. Raises NotFound, InvalidInput, and Conflict when it has that plate already.
    """
    return await say_plate(conn, passage_id, valid_plate(plate), reason, actor, at)


async def say_plate(
    conn: Conn, passage_id: UUID, plate: str, reason: str, actor: str, at: datetime | None = None
) -> Correction:
    """The same for a plate as it is compared, also one that a ticket stands for."""
    _check_reason(reason)
    passage = await _locked(conn, passage_id, lambda _: plate)
    if passage.plate == plate:
        raise Conflict("same-plate", "the passage has this plate already", field="plate")
    made = await repository.insert_correction(conn, passage.project_id, passage_id, plate, reason.strip(), actor)
    await _count(conn, passage, at)
    found = await repository.correction(conn, made)
    assert found is not None
    return found


async def undo_correction(
    conn: Conn, correction_id: int, reason: str, actor: str, at: datetime | None = None
) -> Correction:
    """Takes a correction back: the one before it counts again, or what was read. Raises NotFound, Conflict."""
    _check_reason(reason)
    found = await repository.correction(conn, correction_id)
    if found is None:
        raise NotFound("no-correction", f"there is no correction {correction_id}", field="correction_id")
    said = await repository.corrections(conn, found.passage_id)
    left = [one for one in said if one.id != correction_id and one.undone_at is None]
    passage = await _locked(conn, found.passage_id, lambda seen: left[-1].plate if left else seen.plate_told)
    again = await repository.correction(conn, correction_id)
    if again is None or again.undone_at is not None:
        raise Conflict("undone-already", "this correction was taken back already")
    now = at or datetime.now(UTC)
    await repository.undo_correction(conn, correction_id, reason.strip(), actor, now)
    await _count(conn, passage, now)
    undone = await repository.correction(conn, correction_id)
    assert undone is not None
    return undone


async def candidates(conn: Conn, passage_id: UUID) -> list[Candidate]:
    """Vehicles inside the lot whose plates differ from the one read in one sign, those that look alike first."""
    passage = await find_passage(conn, passage_id)
    found = [
        Candidate(await find_session(conn, session_id), confusable(passage.plate, plate))
        for session_id, plate in await repository.open_plates(conn, passage.lot_id)
        if one_edit_apart(passage.plate, plate)
    ]
    return sorted(found, key=lambda one: (not one.looks_alike, one.session.plate))


async def _locked(conn: Conn, passage_id: UUID, becomes: Callable[[PassageRow], str]) -> PassageRow:
    """The passage, with the plates that it has and gets locked. Raises Conflict when it changed meanwhile."""
    before = await find_passage(conn, passage_id)
    await lock(conn, before.project_id, [lock_name(before.plate, before.session_id), becomes(before)])
    passage = await find_passage(conn, passage_id)
    if passage.plate != before.plate:
        raise Conflict("changed-meanwhile", "somebody else has just changed this plate: look again")
    return passage


async def _count(conn: Conn, passage: PassageRow, at: datetime | None) -> None:
    changed = await repository.count_corrections(conn, passage.id, passage.plate)
    await apply_changes(conn, passage.project_id, changed, at or datetime.now(UTC))


def _check_reason(reason: str) -> None:
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason: every correction is accounted for", field="reason")
