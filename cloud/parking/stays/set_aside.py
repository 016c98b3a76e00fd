"""Passages with an impossible time: kept, shown, and put right by people."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.records import Applied
from cloud.parking.stays import set_aside_repository as repository
from cloud.parking.stays.applying import apply_passages, possible
from cloud.parking.stays.set_aside_repository import SetAside, TimeRepair

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)


def told_at(one: SetAside) -> datetime:
    """The time that the device gave the passage."""
    return _BEGINNING + timedelta(milliseconds=one.passage.taken_at)


async def list_set_aside(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[SetAside]:
    """Passages that no lane could take or whose time cannot be, the newest first."""
    return await repository.set_aside_passages(conn, page, project_id)


async def repair_time(
    conn: Conn, passage_id: UUID, taken_at: datetime, reason: str, actor: str, now: datetime | None = None
) -> Applied:
    """Says when a passage with an impossible time really was, and takes it in.

    The decision is kept: the same passage told again is that of the repaired time. Raises NotFound, InvalidInput;
    Conflict for a passage that is aside for another reason.
    """
    at = now or datetime.now(UTC)
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason: every repair is accounted for", field="reason")
    if not possible(taken_at, at):
        raise InvalidInput("impossible-time", "expected a time of the last two years", field="taken_at")
    found = await repository.find(conn, passage_id)
    if found is None:
        raise NotFound("no-passage", f"there is no passage {passage_id} set aside", field="passage_id")
    if found.reason != "clock":
        raise Conflict("not-clock", "this passage waits for its lane, its time is not in doubt")
    repair = TimeRepair(passage_id, told_at(found), taken_at.replace(microsecond=taken_at.microsecond // 1000 * 1000))
    await repository.insert_repair(conn, found.project_id, repair, reason.strip(), actor)
    await repository.take_out(conn, passage_id)
    return await apply_passages(conn, found.project_id, found.gateway_code, [found.passage], at)
