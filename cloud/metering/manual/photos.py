"""Photos of registers: checked for what they are, kept with the reading they show, removed when they are old."""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal, LiteralString, get_args

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.metering.records import Meter

ContentType = Literal["image/jpeg", "image/png", "image/webp"]

CONTENT_TYPES: Final[tuple[ContentType, ...]] = get_args(ContentType)
MAX_BYTES: Final = 1_500_000
"""As text in JSON (base64) it is 2,000,000 bytes: a request with it stays within what a request may have."""
KEPT: Final = timedelta(days=3 * 365)
"""Longer than bills are argued about; the reading itself stays."""

_KEEP: LiteralString = """
    INSERT INTO reading_photo (project_id, meter_id, channel, taken_at, content, content_type, sha256, actor)
    VALUES (%(project_id)s, %(meter_id)s, %(channel)s, %(taken_at)s, %(content)s, %(content_type)s, %(sha256)s,
            %(actor)s)
    ON CONFLICT DO NOTHING RETURNING id
"""
_SAME: LiteralString = """
    SELECT id FROM reading_photo WHERE meter_id = %(meter_id)s AND channel = %(channel)s AND taken_at = %(taken_at)s
      AND sha256 = %(sha256)s
"""
_GET: LiteralString = "SELECT id, content, content_type FROM reading_photo WHERE id = %s"
# Without the pictures themselves.
_OF_READINGS: LiteralString = """
    SELECT taken_at, min(id) AS id FROM reading_photo
    WHERE meter_id = %(meter_id)s AND channel = %(channel)s AND taken_at >= %(start)s AND taken_at <= %(end)s
    GROUP BY taken_at
"""
# Rows are large: a few in one transaction.
_FORGET: LiteralString = """
    DELETE FROM reading_photo WHERE id IN (
        SELECT id FROM reading_photo WHERE created_at < %(before)s ORDER BY created_at LIMIT %(limit)s)
"""


@dataclass(frozen=True, slots=True)
class Photo:
    """A picture as it was sent."""

    id: int
    content: bytes
    content_type: ContentType


def content_type_of(content: bytes) -> ContentType:
    """What the first bytes say it is, whatever the sender called it. Raises InvalidInput: too large, another kind."""
    if len(content) > MAX_BYTES:
        raise InvalidInput("photo-too-large", f"expected at most {MAX_BYTES} bytes", field="photo")
    if content.startswith(b"\xff\xd8\xff"):
        return "image/jpeg"
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "image/png"
    if content.startswith(b"RIFF") and content[8:12] == b"WEBP":
        return "image/webp"
    raise InvalidInput("bad-photo", "expected a JPEG, PNG or WebP picture", field="photo")


async def keep(conn: Conn, meter: Meter, channel: int, taken_at: datetime, content: bytes, actor: str) -> int:
    """Keeps a photo of a reading and answers with its id; the same picture of the same reading is kept once.

    Raises InvalidInput (photo).
    """
    query = {
        "project_id": meter.project_id,
        "meter_id": meter.id,
        "channel": channel,
        "taken_at": taken_at,
        "content": content,
        "content_type": content_type_of(content),
        "sha256": hashlib.sha256(content).digest(),
        "actor": actor,
    }
    row = await (await conn.execute(_KEEP, query)).fetchone()
    row = row or await (await conn.execute(_SAME, query)).fetchone()
    assert row is not None
    return int(row["id"])


async def get_photo(conn: Conn, photo_id: int) -> Photo:
    """Raises NotFound."""
    row = await (await conn.execute(_GET, (photo_id,))).fetchone()
    if row is None:
        raise NotFound("no-photo", f"there is no photo {photo_id}", field="photo_id")
    return Photo(row["id"], bytes(row["content"]), row["content_type"])


async def of_readings(conn: Conn, meter_id: int, channel: int, start: datetime, end: datetime) -> dict[datetime, int]:
    """The id of a photo of each reading taken in [start, end] that has one."""
    query = {"meter_id": meter_id, "channel": channel, "start": start, "end": end}
    rows = await (await conn.execute(_OF_READINGS, query)).fetchall()
    return {row["taken_at"]: row["id"] for row in rows}


async def forget(conn: Conn, now: datetime, limit: int) -> int:
    """Removes up to `limit` photos that were kept for long enough; answers how many."""
    return (await conn.execute(_FORGET, {"before": now - KEPT, "limit": limit})).rowcount
