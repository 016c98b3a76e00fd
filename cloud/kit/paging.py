"""Cursor paging: a page names the place after which the next one starts, so that new rows shift nothing."""

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, LiteralString, TypeVar

import orjson

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput

T = TypeVar("T")

DEFAULT_LIMIT = 50
MAX_LIMIT = 500
MAX_ID = 2**63 - 1
"""The largest number of a bigint column."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """Which page is wanted: `limit` rows after the row whose sort key is `after` (None: from the start)."""

    limit: int = DEFAULT_LIMIT
    after: tuple[str | int, ...] | None = None


@dataclass(frozen=True, slots=True)
class Page(Generic[T]):
    """Rows of one page and the cursor of the next, None on the last."""

    items: Sequence[T]
    next_cursor: str | None


def page_request(limit: int | None, cursor: str | None, *, key_length: int = 1) -> PageRequest:
    """Reads the query parameters `limit` and `cursor`. Raises InvalidInput."""
    wanted = DEFAULT_LIMIT if limit is None else limit
    if not 1 <= wanted <= MAX_LIMIT:
        raise InvalidInput("bad-limit", f"expected 1 to {MAX_LIMIT}, got {wanted}", field="limit")
    if cursor is None:
        return PageRequest(wanted)
    try:
        key = orjson.loads(base64.urlsafe_b64decode(cursor.encode() + b"=" * (-len(cursor) % 4)))
    except (binascii.Error, orjson.JSONDecodeError, UnicodeError):
        key = None
    if not isinstance(key, list) or len(key) != key_length or not all(type(part) in (str, int) for part in key):
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return PageRequest(wanted, tuple(key))


def after_id(request: PageRequest, start: int = 0) -> int:
    """The id after which a page of a list sorted by id begins; `start` on the first page. Raises InvalidInput."""
    if request.after is None:
        return start
    key = request.after[0]
    if not isinstance(key, int) or not 0 <= key <= MAX_ID:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return key


def cursor_of(key: Sequence[str | int]) -> str:
    """The cursor that continues after the row with this sort key."""
    return base64.urlsafe_b64encode(orjson.dumps(list(key))).decode().rstrip("=")


def cut(rows: Sequence[T], request: PageRequest, key: Callable[[T], Sequence[str | int]]) -> Page[T]:
    """Makes a page of up to `limit + 1` fetched rows: the extra row only tells that there is more."""
    items = rows[: request.limit]
    more = len(rows) > request.limit
    return Page(items, cursor_of(key(items[-1])) if more else None)


async def newest_first(
    conn: Conn,
    query: LiteralString,
    wanted: Mapping[str, object],
    page: PageRequest,
    make: Callable[[dict[str, Any]], T],
) -> Page[T]:
    """A page of a list by falling id, each row made into what is handed out. Raises InvalidInput (cursor).

    The query takes what is `wanted`, and `before` and `limit`; its rows have an `id`.
    """
    values = {**wanted, "before": after_id(page, MAX_ID), "limit": page.limit + 1}
    found = cut(await (await conn.execute(query, values)).fetchall(), page, lambda row: (row["id"],))
    return Page([make(row) for row in found.items], found.next_cursor)
