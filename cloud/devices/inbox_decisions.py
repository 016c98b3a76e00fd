"""What staff decide about messages that could not be taken and readings without a place, and taking it back.

Nothing is deleted. A discarded message or reading is kept and names its decision; it is neither replayed nor claimed
until the decision is taken back. Readings with an impossible time have two ways out: they are discarded, or somebody
tells by how much the clock was ahead. Then they are placed so much earlier, flagged as of a doubtful clock; those that
would still lie ahead of their receipt are left where they are.
"""

from dataclasses import asdict, replace
from datetime import timedelta
from typing import Any, Final, LiteralString

from psycopg.types.json import Jsonb

from cloud.devices.cursors import after_number
from cloud.devices.inbox import LETTER_WANTED, READING_WANTED
from cloud.devices.records import CLOCK_TOLERANCE, InboxAction, InboxDecision, InboxFilter, InboxSubject
from cloud.devices.service import CLAIM_READINGS
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.jobs import enqueue
from cloud.kit.paging import MAX_ID, Page, PageRequest, cut

LONGEST_AHEAD: Final = timedelta(days=36_525)

_COLUMNS: LiteralString = """
    id, project_id, subject, action, ahead_s, wanted, found, reason, actor, created_at, undone_at, undone_by
"""
_ADD: LiteralString = """
    INSERT INTO inbox_decision (project_id, subject, action, ahead_s, wanted, reason, actor)
    VALUES (%(project_id)s, %(subject)s, %(action)s, %(ahead_s)s, %(wanted)s, %(reason)s, %(actor)s) RETURNING id
"""
_FOUND: LiteralString = """
    UPDATE inbox_decision SET found = %(found)s WHERE id = %(id)s RETURNING {columns}
""".replace("{columns}", _COLUMNS)
_DISCARD_LETTERS: LiteralString = """
    UPDATE dead_letter SET decision_id = %(decision_id)s WHERE decision_id IS NULL AND {letter_wanted}
""".replace("{letter_wanted}", LETTER_WANTED)
_DISCARD_READINGS: LiteralString = """
    UPDATE unclaimed_reading u SET decision_id = %(decision_id)s WHERE u.decision_id IS NULL AND {reading_wanted}
""".replace("{reading_wanted}", READING_WANTED)
_CORRECT: LiteralString = """
    UPDATE unclaimed_reading u SET decision_id = %(decision_id)s
    WHERE u.decision_id IS NULL AND u.reason = 'clock'
      AND u.taken_at - %(ahead_s)s * interval '1 second' <= u.received_at + %(tolerance)s::interval
      AND {reading_wanted}
""".replace("{reading_wanted}", READING_WANTED)
_ONE: LiteralString = """
    SELECT {columns} FROM inbox_decision WHERE id = %s FOR UPDATE
""".replace("{columns}", _COLUMNS)
_LIST: LiteralString = """
    SELECT {columns} FROM inbox_decision
    WHERE id < %(before)s AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
    ORDER BY id DESC LIMIT %(limit)s
""".replace("{columns}", _COLUMNS)
_UNDO: LiteralString = """
    UPDATE inbox_decision SET undone_at = now(), undone_by = %(actor)s WHERE id = %(id)s RETURNING {columns}
""".replace("{columns}", _COLUMNS)
_RELEASE: dict[InboxSubject, LiteralString] = {
    "dead-letters": "UPDATE dead_letter SET decision_id = NULL WHERE decision_id = %s",
    "unclaimed-readings": "UPDATE unclaimed_reading SET decision_id = NULL WHERE decision_id = %s",
}


async def discard(conn: Conn, subject: InboxSubject, wanted: InboxFilter, reason: str, actor: str) -> InboxDecision:
    """Puts away what waits and is `wanted`. Raises NotFound when nothing is, InvalidInput without a reason."""
    statement = _DISCARD_LETTERS if subject == "dead-letters" else _DISCARD_READINGS
    return await _decide(conn, statement, subject, "discard", wanted, reason, actor)


async def correct_clock(conn: Conn, wanted: InboxFilter, ahead: timedelta, reason: str, actor: str) -> InboxDecision:
    """Has readings with an impossible time placed `ahead` earlier; a job places them.

    `wanted` names one device of one gateway: no two clocks are wrong alike. Raises NotFound when none of its readings
    becomes possible that way, InvalidInput.
    """
    if wanted.project_id is None or wanted.gateway_code is None or wanted.device_code is None:
        raise InvalidInput("no-device-named", "a clock is corrected for one device of one gateway", field="device_code")
    if not timedelta(seconds=1) <= ahead <= LONGEST_AHEAD:
        raise InvalidInput("bad-ahead", "expected 1 second to 100 years", field="ahead_s")
    made = await _decide(conn, _CORRECT, "unclaimed-readings", "correct-clock", wanted, reason, actor, ahead)
    await enqueue(
        conn, CLAIM_READINGS, {"project_id": wanted.project_id}, project_id=wanted.project_id,
        dedupe_key=f"decision-{made.id}",
    )  # fmt: skip
    return made


async def undo(conn: Conn, decision_id: int, actor: str) -> InboxDecision:
    """Takes a decision back: what it put away waits again; readings that were placed meanwhile stay placed.

    Raises NotFound, and Conflict when it was taken back before.
    """
    row = await (await conn.execute(_ONE, (decision_id,))).fetchone()
    if row is None:
        raise NotFound("no-decision", f"there is no decision {decision_id}")
    if row["undone_at"] is not None:
        raise Conflict("already-undone", "this decision was taken back before")
    await conn.execute(_RELEASE[row["subject"]], (decision_id,))
    undone = await (await conn.execute(_UNDO, {"id": decision_id, "actor": actor})).fetchone()
    assert undone is not None
    return InboxDecision(**undone)


async def list_decisions(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[InboxDecision]:
    """Decisions, newest first."""
    query = {"project_id": project_id, "before": after_number(page, MAX_ID), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST, query)).fetchall()
    return cut([InboxDecision(**row) for row in rows], page, lambda found: (found.id,))


async def _decide(
    conn: Conn,
    statement: LiteralString,
    subject: InboxSubject,
    action: InboxAction,
    wanted: InboxFilter,
    reason: str,
    actor: str,
    ahead: timedelta | None = None,
) -> InboxDecision:
    if not reason.strip():
        raise InvalidInput("no-reason", "a reason is needed", field="reason")
    wanted = replace(wanted, state="waiting")
    ahead_s = None if ahead is None else int(ahead.total_seconds())
    named: dict[str, Any] = {
        "project_id": wanted.project_id,
        "subject": subject,
        "action": action,
        "ahead_s": ahead_s,
        "wanted": Jsonb({name: str(value) for name, value in asdict(wanted).items() if value is not None}),
        "reason": reason.strip(),
        "actor": actor,
    }
    added = await (await conn.execute(_ADD, named)).fetchone()
    assert added is not None
    query = {**asdict(wanted), "decision_id": added["id"], "ahead_s": ahead_s, "tolerance": CLOCK_TOLERANCE}
    found = (await conn.execute(statement, query)).rowcount
    if found == 0:
        raise NotFound("nothing-waits", "nothing of that kind waits")
    row = await (await conn.execute(_FOUND, {"id": added["id"], "found": found})).fetchone()
    assert row is not None
    return InboxDecision(**row)
