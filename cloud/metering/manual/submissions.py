"""Readings that residents hand in: they wait until staff accept them, correct them or send them back."""

from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Final, Literal, LiteralString

from cloud.devices.cursors import after_number
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, cut
from cloud.kit.periods import day_start
from cloud.metering import service
from cloud.metering.manual import photos
from cloud.metering.manual import service as manual
from cloud.metering.manual.service import Looked, ManualReading
from cloud.metering.records import Meter
from gateway.contract.quantities import BY_NUMBER, Quantity

State = Literal["waiting", "accepted", "rejected"]

MOST_WAITING: Final = 5
"""Of one meter; the table has no room for more."""

_SUBMISSION: LiteralString = """
    SELECT id, project_id, meter_id, channel, taken_at, value, note, photo_id, user_id, state, accepted, actor, reason,
           decided_at, created_at
    FROM reading_submission
"""
_LIST: LiteralString = (
    _SUBMISSION
    + """
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(meter_id)s::bigint IS NULL OR meter_id = %(meter_id)s)
      AND (%(state)s::text IS NULL OR state = %(state)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
)
_BY_ID: LiteralString = _SUBMISSION + " WHERE id = %s"
# Sent twice it is the same one.
_SAME: LiteralString = (
    _SUBMISSION
    + """
    WHERE meter_id = %(meter_id)s AND channel = %(channel)s AND taken_at = %(taken_at)s AND value = %(value)s
      AND user_id = %(user_id)s AND state = 'waiting'
"""
)
# Staff see all of their project: only a resident's own time counts.
_MINE: LiteralString = """
    SELECT gm.kind() = 'staff' OR EXISTS (
        SELECT FROM gm.my_meters() mine WHERE mine.meter_id = %(meter_id)s
        AND %(taken_at)s >= mine.from_at AND %(taken_at)s <= mine.until_at) AS mine
"""
_SLOT: LiteralString = "SELECT gm.free_submission_slot(%s) AS slot"
_ADD: LiteralString = """
    INSERT INTO reading_submission (project_id, meter_id, channel, taken_at, value, note, photo_id, user_id, slot)
    VALUES (%(project_id)s, %(meter_id)s, %(channel)s, %(taken_at)s, %(value)s, %(note)s, %(photo_id)s, %(user_id)s,
            %(slot)s)
    RETURNING id
"""
_DECIDE: LiteralString = """
    UPDATE reading_submission SET state = %(state)s, accepted = %(accepted)s, actor = %(actor)s, reason = %(reason)s,
           decided_at = now()
    WHERE id = %(id)s
"""
_COUNT: LiteralString = """
    SELECT count(*) AS waiting FROM reading_submission WHERE project_id = %s AND state = 'waiting'
"""


@dataclass(frozen=True, slots=True)
class Submission:
    """A reading that was handed in; values in the base unit of the channel, before the multiplier.

    `accepted`: what was stored for it, which differs from `value` where staff corrected it.
    """

    id: int
    project_id: int
    meter_id: int
    channel: int
    taken_at: datetime
    value: int
    note: str
    photo_id: int | None
    user_id: int
    state: State
    accepted: int | None
    actor: str
    reason: str
    decided_at: datetime | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class SubmissionFilter:
    """Which submissions are wanted; None: any."""

    project_id: int | None = None
    meter_id: int | None = None
    state: State | None = None


@dataclass(frozen=True, slots=True)
class HandedIn:
    """What a resident hands in: the value as he read it, in `unit` (the one people use when empty)."""

    meter_id: int
    text: str
    taken_at: datetime
    user_id: int
    actor: str
    unit: str = ""
    channel: Quantity | None = None
    note: str = ""
    photo: bytes | None = None


async def hand_in(conn: Conn, wanted: HandedIn) -> Submission:
    """Keeps a reading for staff to look at; the same one handed in twice waits once.

    Raises NotFound for a meter that is not the asker's; InvalidInput (value, unit, channel, taken_at, photo); Conflict
    when MOST_WAITING of the meter wait already.
    """
    meter = await service.get_meter(conn, wanted.meter_id)
    project = await estate.get_project(conn, meter.project_id)
    quantity = wanted.channel or meter.main_channel
    value = manual.base_value(wanted.text, wanted.unit, quantity, meter)
    manual.check_time(wanted.taken_at, day_start(meter.installed_on, project.zone), datetime.now(UTC))
    query: dict[str, object] = {
        "project_id": meter.project_id,
        "meter_id": meter.id,
        "channel": quantity.number,
        "taken_at": wanted.taken_at,
        "value": value,
        "note": wanted.note,
        "user_id": wanted.user_id,
    }
    mine = await (await conn.execute(_MINE, query)).fetchone()
    if mine is None or not mine["mine"]:
        raise InvalidInput("not-your-time", "expected a time in which this home is yours", field="taken_at")
    same = await (await conn.execute(_SAME, query)).fetchone()
    if same is not None:
        return Submission(**same)
    row = await (await conn.execute(_SLOT, (meter.id,))).fetchone()
    if row is None or row["slot"] is None:
        raise Conflict("too-many-waiting", f"{MOST_WAITING} readings of this meter wait already")
    query |= {"slot": row["slot"], "photo_id": await _photo(conn, meter, quantity, wanted)}
    row = await (await conn.execute(_ADD, query)).fetchone()
    assert row is not None
    return await get_submission(conn, row["id"])


async def list_submissions(conn: Conn, page: PageRequest, wanted: SubmissionFilter) -> Page[Submission]:
    """Submissions, the latest first."""
    query = {**asdict(wanted), "before": after_number(page, MAX_ID), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST, query)).fetchall()
    return cut([Submission(**row) for row in rows], page, lambda one: (one.id,))


async def get_submission(conn: Conn, submission_id: int) -> Submission:
    """Raises NotFound."""
    row = await (await conn.execute(_BY_ID, (submission_id,))).fetchone()
    return _found(row, submission_id)


async def count_waiting(conn: Conn, project_id: int) -> int:
    """How many wait in a project."""
    row = await (await conn.execute(_COUNT, (project_id,))).fetchone()
    assert row is not None
    return int(row["waiting"])


async def look(conn: Conn, submission: Submission, text: str = "") -> Looked:
    """What is around a submission, and what is doubtful about its value, or about `text` in its place.

    Raises InvalidInput.
    """
    meter = await service.get_meter(conn, submission.meter_id)
    value = manual.base_value(text, "", BY_NUMBER[submission.channel], meter) if text else submission.value
    return await manual.look(conn, meter, ManualReading(meter.id, submission.channel, submission.taken_at, value))


async def accept(
    conn: Conn, submission_id: int, actor: str, *, text: str = "", reason: str = "", confirmed: bool = False
) -> Submission:
    """Stores the reading as if staff had typed it in; `text` is the value instead of the one that was handed in.

    Raises NotFound, Conflict when it is decided already, and as `manual.store`; InvalidInput.
    """
    found = await _locked(conn, submission_id)
    looked = await look(conn, found, text)
    word = manual.confirmation(reason, actor) if confirmed else None
    stored = await manual.enter(conn, looked, actor, note=found.note, confirmed=word)
    return await _decided(conn, found, "accepted", stored.value, actor, reason)


async def reject(conn: Conn, submission_id: int, actor: str, reason: str) -> Submission:
    """Sends a submission back with the reason. Raises NotFound, Conflict when it is decided already, InvalidInput."""
    found = await _locked(conn, submission_id)
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason", field="reason")
    return await _decided(conn, found, "rejected", None, actor, reason)


async def _photo(conn: Conn, meter: Meter, quantity: Quantity, wanted: HandedIn) -> int | None:
    if wanted.photo is None:
        return None
    return await photos.keep(conn, meter, quantity.number, wanted.taken_at, wanted.photo, wanted.actor)


async def _locked(conn: Conn, submission_id: int) -> Submission:
    row = await (await conn.execute(_BY_ID + " FOR UPDATE", (submission_id,))).fetchone()
    found = _found(row, submission_id)
    if found.state != "waiting":
        raise Conflict("already-decided", "it was decided meanwhile: look at it first")
    return found


async def _decided(
    conn: Conn, found: Submission, state: State, accepted: int | None, actor: str, reason: str
) -> Submission:
    query = {"id": found.id, "state": state, "accepted": accepted, "actor": actor, "reason": reason.strip()}
    await conn.execute(_DECIDE, query)
    return await get_submission(conn, found.id)


def _found(row: dict[str, object] | None, submission_id: int) -> Submission:
    if row is None:
        raise NotFound("no-submission", f"there is no submission {submission_id}", field="submission_id")
    return Submission(**row)  # type: ignore[arg-type]
