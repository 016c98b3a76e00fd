"""Files of readings: taken in, done by a job, and answered row by row; what is not right is kept with its reason."""

import hashlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.jobs import enqueue
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import known_zone
from cloud.kit.tables import MAX_BYTES
from cloud.metering.imports import repository
from cloud.metering.imports.records import (
    ImportFilter,
    ImportRow,
    NewImport,
    ReadingImport,
    RowFilter,
)
from cloud.metering.imports.rows import LONGEST_S
from cloud.metering.imports.table import number

IMPORT_READINGS: Final = "metering.import-readings"
"""Job kind: do an import; `import_id`."""

PART: Final = 1024 * 1024
"""Bytes of a part of a file: so much of it is in memory at once."""

MAX_UPLOAD_BYTES: Final = MAX_BYTES + 64 * 1024
"""Of a request with a file: some room for the other fields."""

_MOST_DECIMALS: Final = 3
_ROWS_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Content:
    """What a file holds, without holding it: `parts` reads it from its beginning, PART bytes at a time."""

    sha256: bytes
    size: int
    parts: Callable[[], AsyncIterator[bytes]]


def content_of(data: bytes) -> Content:
    """Of a file that is in memory."""

    async def parts() -> AsyncIterator[bytes]:
        for start in range(0, len(data), PART):
            yield data[start : start + PART]

    return Content(hashlib.sha256(data).digest(), len(data), parts)


async def create_import(conn: Conn, new: NewImport, content: Content, *, again: bool = False) -> ReadingImport:
    """Keeps a file; whoever does the import reads it from there.

    Raises NotFound (project), InvalidInput (too large, empty, options that do not go together), and Conflict when the
    project has an import of the same file already, unless `again` or a dry run; it stores nothing twice.
    """
    await estate.get_project(conn, new.project_id)
    checked = _checked(new, content.size)
    await _refuse_repetition(conn, new, content.sha256, again=again)
    made = await repository.insert(conn, checked, content.sha256, content.size)
    nth = 0
    async for part in content.parts():
        await repository.add_part(conn, made, nth, part)
        nth += 1
    return made


async def ask_for_import(conn: Conn, made: ReadingImport) -> None:
    """Has a job do what is left of an import."""
    await enqueue(conn, IMPORT_READINGS, {"import_id": made.id}, project_id=made.project_id, dedupe_key=_key(made))


async def is_stuck(conn: Conn, made: ReadingImport) -> bool:
    """Whether an import is not done and no job works on it: the job failed for good, or a command was broken off."""
    return made.is_working and not await repository.has_worker(conn, made, IMPORT_READINGS, _key(made))


def _key(made: ReadingImport) -> str:
    return f"import-{made.id}"


async def import_once_more(conn: Conn, import_id: int, actor: str, *, again: bool = False) -> ReadingImport:
    """The file of an import or of a dry run, read the same way, as a new import that stores. A job does it.

    Raises NotFound, and Conflict as `create_import` does.
    """
    first = await get_import(conn, import_id)
    new = NewImport(
        first.project_id,
        first.file_name,
        actor,
        first.kind,
        False,
        first.stamped,
        first.interval_s,
        first.opening,
        first.time_zone,
    )
    await _refuse_repetition(conn, new, first.sha256, again=again)
    made = await repository.insert(conn, new, first.sha256, first.size)
    await repository.copy_parts(conn, made, first.id)
    await ask_for_import(conn, made)
    return made


async def get_import(conn: Conn, import_id: int) -> ReadingImport:
    """Raises NotFound."""
    found = await repository.get(conn, import_id)
    if found is None:
        raise NotFound("no-import", f"there is no import {import_id}", field="import_id")
    return found


async def list_imports(conn: Conn, page: PageRequest, wanted: ImportFilter) -> Page[ReadingImport]:
    """Imports, newest first."""
    found = await repository.imports(conn, wanted, after_id(page, MAX_ID), page.limit + 1)
    return cut(found, page, lambda one: (one.id,))


async def list_rows(conn: Conn, page: PageRequest, import_id: int, wanted: RowFilter) -> Page[ImportRow]:
    """Rows of an import in the order of the file. Raises NotFound."""
    await get_import(conn, import_id)
    found = await repository.rows(conn, import_id, wanted, after_id(page), page.limit + 1)
    return cut(found, page, lambda one: (one.line,))


async def rows_not_stored(conn: Conn, import_id: int) -> AsyncIterator[list[ImportRow]]:
    """All rows that are not in the store, portion by portion in the order of the file."""
    after = 0
    while portion := await repository.rows(conn, import_id, RowFilter(not_stored=True), after, _ROWS_AT_ONCE):
        yield portion
        after = portion[-1].line


async def codes_to_confirm(conn: Conn, import_id: int) -> dict[str, int]:
    """How many rows wait for confirmation, by what is asked about them."""
    return await repository.codes_to_confirm(conn, import_id)


async def confirm(
    conn: Conn, import_id: int, reason: str, actor: str, code: str | None = None, lines: Sequence[int] | None = None
) -> ReadingImport:
    """Confirms what is asked about rows, with a reason: of these lines, of this code, or all; a job stores them.

    A reading that goes against its neighbours then counts in usage, as if an edit said so. Raises NotFound,
    InvalidInput without a reason, Conflict when no such row waits or it is a dry run.
    """
    made = await _one_that_stores(conn, import_id)
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason", field="reason")
    if not await repository.confirm(conn, import_id, reason.strip(), actor, code, lines):
        raise Conflict("nothing-to-confirm", "no such row waits for confirmation")
    return await _once_more(conn, made)


async def look_again(conn: Conn, import_id: int) -> ReadingImport:
    """Has the rows that are not stored answered again, as after a missing meter was created.

    What was left of a run goes on as well. Raises NotFound, Conflict for a dry run that is done.
    """
    made = await repository.get(conn, import_id, locked=True)
    if made is None or not made.is_working:
        made = await _one_that_stores(conn, import_id)
    await repository.look_again(conn, import_id)
    return await _once_more(conn, made)


async def _refuse_repetition(conn: Conn, new: NewImport, sha256: bytes, *, again: bool) -> None:
    if new.dry_run or again:
        return
    earlier = await repository.same_file(conn, new.project_id, sha256)
    if earlier is not None:
        raise Conflict(
            "file-imported", f"this file is import {earlier} already; say `again` to import it once more",
            field="file", import_id=earlier,
        )  # fmt: skip


async def _one_that_stores(conn: Conn, import_id: int) -> ReadingImport:
    made = await repository.get(conn, import_id, locked=True)
    if made is None:
        raise NotFound("no-import", f"there is no import {import_id}", field="import_id")
    if made.dry_run:
        raise Conflict("dry-run", "a dry run stores nothing: import the file", field="import_id")
    return made


async def _once_more(conn: Conn, made: ReadingImport) -> ReadingImport:
    await repository.queue(conn, made.id)
    await ask_for_import(conn, made)
    return await get_import(conn, made.id)


def _checked(new: NewImport, size: int) -> NewImport:
    """The same with only the options that its kind has. Raises InvalidInput."""
    if not size:
        raise InvalidInput("empty-file", "expected a header and rows, found nothing", field="file")
    if size > MAX_BYTES:
        raise InvalidInput("file-too-large", f"expected at most {MAX_BYTES} bytes", field="file")
    if new.time_zone:
        known_zone(new.time_zone)
    name = new.file_name.replace("\0", "").strip()[-200:] or "file"
    if new.kind == "register":
        return replace(new, file_name=name, stamped="start", interval_s=None, opening="")
    if new.interval_s is not None and not 1 <= new.interval_s <= LONGEST_S:
        raise InvalidInput("bad-length", f"expected an interval of 1 to {LONGEST_S} seconds", field="interval_s")
    if new.opening:
        opening = number(new.opening)
        if opening < 0 or opening != round(opening, _MOST_DECIMALS):
            raise InvalidInput(
                "bad-value", f"expected a register reading with at most {_MOST_DECIMALS} decimals", field="opening"
            )
        return replace(new, file_name=name, opening=f"{opening:f}")
    return replace(new, file_name=name)
