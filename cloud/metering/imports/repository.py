"""Imports of readings in the database: files, their rows, and what the store holds around a row."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, LiteralString

import numpy as np
import orjson

from cloud.kit.columns import TimeColumn
from cloud.kit.db import Conn
from cloud.metering.imports import sql
from cloud.metering.imports.judging import Answer, Row
from cloud.metering.imports.records import (
    ImportFilter,
    ImportRow,
    NewImport,
    Outcome,
    ReadingImport,
    RowFilter,
)
from cloud.metering.imports.rows import Understood


async def insert(conn: Conn, new: NewImport, sha256: bytes, size: int) -> ReadingImport:
    """A new import without its file."""
    query = {name: getattr(new, name) for name in NewImport.__slots__}
    row = await (await conn.execute(sql.INSERT, {**query, "sha256": sha256, "size": size})).fetchone()
    assert row is not None
    made = await get(conn, row["id"])
    assert made is not None
    return made


async def add_part(conn: Conn, made: ReadingImport, nth: int, content: bytes) -> None:
    """The next part of the file."""
    await conn.execute(sql.ADD_PART, (made.id, nth, made.project_id, content))


async def copy_parts(conn: Conn, made: ReadingImport, of: int) -> None:
    """The file of another import."""
    await conn.execute(sql.COPY_PARTS, {"made": made.id, "of": of})


async def content(conn: Conn, import_id: int) -> bytes:
    """The whole file."""
    rows = await (await conn.execute(sql.PARTS, (import_id,), binary=True)).fetchall()
    return b"".join(row["content"] for row in rows)


async def same_file(conn: Conn, project_id: int, sha256: bytes) -> int | None:
    """The first import of a file with this content into the project; nobody else can make one until we are done."""
    await conn.execute(sql.ONE_AT_A_TIME, {"project_id": project_id, "sha256": sha256.hex()})
    row = await (await conn.execute(sql.SAME_FILE, {"project_id": project_id, "sha256": sha256})).fetchone()
    return None if row is None else int(row["id"])


async def get(conn: Conn, import_id: int, *, locked: bool = False) -> ReadingImport | None:
    """One import; `locked` until the transaction ends."""
    statement: LiteralString = sql.GET + " FOR UPDATE" if locked else sql.GET
    row = await (await conn.execute(statement, (import_id,))).fetchone()
    return None if row is None else ReadingImport(**row)


async def imports(conn: Conn, wanted: ImportFilter, before: int, limit: int) -> list[ReadingImport]:
    """Imports with ids below `before`, newest first."""
    query = {"project_id": wanted.project_id, "state": wanted.state, "kind": wanted.kind}
    rows = await (await conn.execute(sql.LIST, {**query, "before": before, "limit": limit})).fetchall()
    return [ReadingImport(**row) for row in rows]


async def rows(conn: Conn, import_id: int, wanted: RowFilter, after: int, limit: int) -> list[ImportRow]:
    """Rows with lines above `after`, in their order."""
    query = {"outcome": wanted.outcome, "code": wanted.code, "not_stored": wanted.not_stored}
    found = await (await conn.execute(sql.ROWS, {**query, "id": import_id, "after": after, "limit": limit})).fetchall()
    return [ImportRow(**row) for row in found]


async def codes_to_confirm(conn: Conn, import_id: int) -> dict[str, int]:
    """How many rows wait for confirmation, by code."""
    found = await (await conn.execute(sql.CODES, (import_id,))).fetchall()
    return {row["code"]: row["rows"] for row in found}


async def confirm(
    conn: Conn, import_id: int, reason: str, actor: str, code: str | None, lines: Sequence[int] | None
) -> int:
    """Confirms rows for what is asked about them; if there are any, all that wait for confirmation are judged again."""
    query = {"id": import_id, "reason": reason, "actor": actor, "code": code}
    confirmed = await conn.execute(sql.CONFIRM, {**query, "lines": None if lines is None else list(lines)})
    if confirmed.rowcount:
        await conn.execute(sql.WAIT_AGAIN, (import_id,))
    return confirmed.rowcount


async def look_again(conn: Conn, import_id: int) -> None:
    """Every row that is not stored counts as new."""
    await conn.execute(sql.LOOK_AGAIN, (import_id,))


async def queue(conn: Conn, import_id: int) -> None:
    """It waits for its turn, and what is left of it can be seen."""
    await conn.execute(sql.QUEUE, (import_id,))
    await conn.execute(sql.COUNT, {"id": import_id})


async def begin(conn: Conn, import_id: int) -> None:
    """It is under way."""
    await conn.execute(sql.BEGIN, (import_id,))


async def refuse(conn: Conn, import_id: int, code: str, detail: str) -> None:
    """The file as a whole cannot be read."""
    await conn.execute(sql.COUNT, {"id": import_id})
    await conn.execute(sql.REFUSE, {"id": import_id, "code": code, "detail": detail})


async def finish(conn: Conn, import_id: int) -> None:
    """Every row is answered."""
    await conn.execute(sql.COUNT, {"id": import_id})
    await conn.execute(sql.FINISH, (import_id,))


async def count(conn: Conn, import_id: int) -> None:
    """Counts the rows by outcome."""
    await conn.execute(sql.COUNT, {"id": import_id})


async def has_worker(conn: Conn, made: ReadingImport, kind: str, key: str) -> bool:
    """Whether a job of this kind and key waits or works."""
    query = {"kind": kind, "project_id": str(made.project_id), "key": key}
    row = await (await conn.execute(sql.HAS_WORKER, query)).fetchone()
    assert row is not None
    return bool(row["found"])


async def is_unfinished(conn: Conn, import_id: int) -> bool:
    """Whether some row has no answer yet."""
    row = await (await conn.execute(sql.UNFINISHED, {"id": import_id})).fetchone()
    assert row is not None
    return bool(row["unfinished"])


async def set_header(conn: Conn, import_id: int, header: Sequence[str]) -> None:
    """The first line of the file."""
    await conn.execute(sql.SET_HEADER, (list(header), import_id))


async def set_loaded(conn: Conn, import_id: int) -> None:
    """All rows of the file are here."""
    await conn.execute(sql.LOADED, (import_id,))


async def last_line(conn: Conn, import_id: int) -> int:
    """Line of the last row that is here, 0 without any."""
    row = await (await conn.execute(sql.LAST_LINE, (import_id,))).fetchone()
    assert row is not None
    return int(row["line"])


async def add_rows(conn: Conn, made: ReadingImport, understood: Sequence[Understood]) -> None:
    """Adds rows of the file."""
    raw = [orjson.dumps(row.raw).decode() for row in understood]
    query = {**_columns(understood), "id": made.id, "project_id": made.project_id, "raw": raw}
    await conn.execute(sql.ADD_ROWS, query)


async def new_rows(conn: Conn, import_id: int, limit: int) -> list[tuple[int, list[str]]]:
    """Line and cells of rows that are to be looked at."""
    found = await (await conn.execute(sql.NEW_ROWS, {"id": import_id, "limit": limit})).fetchall()
    return [(row["line"], row["raw"]) for row in found]


async def keep_understood(conn: Conn, import_id: int, understood: Sequence[Understood]) -> None:
    """What new rows say."""
    await conn.execute(sql.UNDERSTOOD, {**_columns(understood), "id": import_id})


async def in_series(conn: Conn, import_id: int, after: Row | None, limit: int) -> list[Row]:
    """The rows of all registers that have waiting ones, by register and time, after this one."""
    query = {
        "id": import_id,
        "limit": limit,
        "meter_id": after.meter_id if after else 0,
        "channel": after.channel if after else 0,
        "placed_ms": after.taken_ms if after else 0,
        "line": after.line if after else 0,
    }
    found = await (await conn.execute(sql.IN_SERIES, query)).fetchall()
    return [
        Row(
            row["line"], row["meter_id"], row["channel"], row["taken_ms"], row["until_ms"], row["value"],
            row["outcome"], row["register"], row["confirmed_code"],
        )
        for row in found
    ]  # fmt: skip


async def keep_answers(conn: Conn, import_id: int, answers: Sequence[Answer]) -> None:
    """What became of rows."""
    query = {
        "id": import_id,
        "lines": [one.line for one in answers],
        "outcomes": [one.outcome for one in answers],
        "codes": [one.code for one in answers],
        "fields": [one.field for one in answers],
        "details": [one.detail for one in answers],
        "registers": [one.register for one in answers],
    }
    await conn.execute(sql.ANSWER, query)


async def meters_named(
    conn: Conn, project_id: int, codes: Iterable[str], serials: Iterable[str]
) -> list[Mapping[str, Any]]:
    """Rows `id`, `code`, `serial` of meters of the project with one of these codes, or ever one of these serials."""
    query = {"project_id": project_id, "codes": sorted(codes), "serials": sorted(serials)}
    return list(await (await conn.execute(sql.METERS, query)).fetchall())


async def believe(conn: Conn, import_id: int, readings: Sequence[tuple[int, int]]) -> None:
    """Readings (line, time in ms) that somebody confirmed count, whatever rule is against them."""
    lines, times = [line for line, _ in readings], np.array([ms for _, ms in readings], np.int64)
    await conn.execute(sql.BELIEVE, {"id": import_id, "lines": lines, "times": TimeColumn(times)})


def _outcome(row: Understood) -> Outcome:
    return "refused" if row.code else "waiting"


def _columns(understood: Sequence[Understood]) -> dict[str, list[Any]]:
    return {
        "lines": [row.line for row in understood],
        "outcomes": [_outcome(row) for row in understood],
        "codes": [row.code for row in understood],
        "fields": [row.field for row in understood],
        "details": [row.detail for row in understood],
        "meters": [row.meter_id for row in understood],
        "channels": [row.channel for row in understood],
        "placed": [row.placed_ms for row in understood],
        "taken": [row.taken_ms for row in understood],
        "until": [row.until_ms for row in understood],
        "values": [row.value for row in understood],
    }
