"""Editing of readings by staff: every decision is another version with a reason, the reading itself never changes."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal, LiteralString

from cloud.devices.cursors import after_number
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, cut
from cloud.metering import service
from cloud.metering.assets.registers import registers_of
from cloud.metering.records import Meter, ReadingEdit
from gateway.contract.quantities import BY_NUMBER

Action = Literal["set", "use", "ignore", "original"]

_EXISTS: LiteralString = """
    SELECT value FROM reading WHERE meter_id = %(meter_id)s AND channel = %(channel)s AND taken_at = %(taken_at)s
"""
# Two at once take the same version: the second is refused by the key, and its author looks again.
_ADD: LiteralString = """
    INSERT INTO reading_edit (project_id, meter_id, channel, taken_at, version, action, value, reason, actor)
    SELECT %(project_id)s, %(meter_id)s, %(channel)s, %(taken_at)s, coalesce(max(version), 0) + 1, %(action)s,
           %(value)s, %(reason)s, %(actor)s
    FROM reading_edit WHERE meter_id = %(meter_id)s AND channel = %(channel)s AND taken_at = %(taken_at)s
    RETURNING id, meter_id, channel, taken_at, version, action, value, reason, actor, created_at
"""
_MARK: LiteralString = """
    INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
    VALUES (%(meter_id)s, %(channel)s, %(project_id)s, %(taken_at)s, %(taken_at)s)
"""
_LIST: LiteralString = """
    SELECT id, meter_id, channel, taken_at, version, action, value, reason, actor, created_at FROM reading_edit
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(meter_id)s::bigint IS NULL OR meter_id = %(meter_id)s)
      AND (%(channel)s::smallint IS NULL OR channel = %(channel)s)
      AND (%(taken_at)s::timestamptz IS NULL OR taken_at = %(taken_at)s)
      AND (%(actor)s::text IS NULL OR strpos(lower(actor), lower(%(actor)s)) > 0)
      AND (%(start)s::timestamptz IS NULL OR created_at >= %(start)s)
      AND (%(end)s::timestamptz IS NULL OR created_at < %(end)s) AND id < %(before)s
    ORDER BY id DESC LIMIT %(limit)s
"""
_IN_FORCE: LiteralString = """
    SELECT DISTINCT ON (taken_at) meter_id, channel, taken_at, version, action, value, reason, actor, created_at
    FROM reading_edit WHERE meter_id = %(meter_id)s AND channel = %(channel)s
      AND taken_at >= %(start)s AND taken_at <= %(end)s
    ORDER BY taken_at, version DESC
"""


@dataclass(frozen=True, slots=True)
class NewEdit:
    """What is decided about one reading; `value` in the base unit of the channel, for `set` alone."""

    meter_id: int
    channel: int
    taken_at: datetime
    action: Action
    reason: str
    actor: str
    value: int | None = None


@dataclass(frozen=True, slots=True)
class EditFilter:
    """Which edits are wanted; None: any. `actor`: a part of his name. Made in [`start`, `end`)."""

    project_id: int | None = None
    meter_id: int | None = None
    channel: int | None = None
    taken_at: datetime | None = None
    actor: str | None = None
    start: datetime | None = None
    end: datetime | None = None


async def check(conn: Conn, edit: NewEdit) -> Meter:
    """The meter of an edit that may be made. Raises NotFound (meter), InvalidInput (value)."""
    meter = await service.get_meter(conn, edit.meter_id)
    if (edit.value is not None) != (edit.action == "set"):
        raise InvalidInput("bad-value", "a value belongs to 'set' and to nothing else", field="value")
    modulus = await _modulus(conn, meter, edit.taken_at)
    if edit.value is not None and not 0 <= edit.value < modulus:
        quantity = BY_NUMBER[edit.channel]
        most = Decimal(modulus).scaleb(quantity.display_exponent)
        raise InvalidInput("bad-value", f"expected 0 to below {most:f} {quantity.display_unit}", field="value")
    return meter


async def add_edit(conn: Conn, edit: NewEdit) -> ReadingEdit:
    """Adds a version and has usage look again. Raises NotFound (meter, reading), InvalidInput (value)."""
    meter = await check(conn, edit)
    query = {
        "project_id": meter.project_id,
        "meter_id": edit.meter_id,
        "channel": edit.channel,
        "taken_at": edit.taken_at,
        "action": edit.action,
        "value": edit.value,
        "reason": edit.reason,
        "actor": edit.actor,
    }
    if await (await conn.execute(_EXISTS, query)).fetchone() is None:
        raise NotFound("no-reading", "the meter has no reading of this time", field="taken_at")
    row = await (await conn.execute(_ADD, query)).fetchone()
    assert row is not None
    await conn.execute(_MARK, query)
    await service.ask_for_usage(conn)
    return _edit(row)


async def list_edits(conn: Conn, page: PageRequest, wanted: EditFilter) -> Page[ReadingEdit]:
    """What was decided about readings, the latest first."""
    query = {**asdict(wanted), "before": after_number(page, MAX_ID), "limit": page.limit + 1}
    rows = await (await conn.execute(_LIST, query)).fetchall()
    found = cut(rows, page, lambda row: (row["id"],))
    return Page([_edit(row) for row in found.items], found.next_cursor)


async def edits_in_force(
    conn: Conn, meter_id: int, channel: int, start: datetime, end: datetime
) -> dict[datetime, ReadingEdit]:
    """The version that counts of each edited reading taken in [start, end]; those that were taken back are absent."""
    query = {"meter_id": meter_id, "channel": channel, "start": start, "end": end}
    rows: Sequence[ReadingEdit] = [_edit(row) for row in await (await conn.execute(_IN_FORCE, query)).fetchall()]
    return {edit.taken_at: edit for edit in rows if edit.action != "original"}


async def _modulus(conn: Conn, meter: Meter, at: datetime) -> int:
    """Of the register in force then; of the one in force now where none was."""
    registers = (await registers_of(conn, [meter.id])).get(meter.id, [])
    found = [one for one in registers if one.valid_from <= at and (one.valid_until is None or at < one.valid_until)]
    return found[0].modulus if found else meter.modulus


def _edit(row: dict[str, object]) -> ReadingEdit:
    return ReadingEdit(**{name: value for name, value in row.items() if name != "id"})  # type: ignore[arg-type]
