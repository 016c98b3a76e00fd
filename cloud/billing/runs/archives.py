"""All bills of a run as one ZIP of PDFs: asked for, written by a job piece by piece, kept for two weeks."""

import asyncio
import io
import zipfile
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

from cloud.billing.documents.model import BillDocument, Language
from cloud.billing.documents.pdf import as_pdf
from cloud.billing.documents.service import bill_documents
from cloud.billing.runs import archive_repository
from cloud.billing.runs.archive_repository import Archive
from cloud.billing.runs.drafting import Progress
from cloud.billing.runs.service import get_run
from cloud.kit import i18n
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.jobs import enqueue

ARCHIVE_JOB = "billing.archive"
KEPT = timedelta(days=14)

_AT_ONCE = 20
"""Bills read in one transaction and typeset together."""
_PART_BYTES = 1_000_000

Connect = Callable[[], AbstractAsyncContextManager[Conn]]
"""Opens a transaction in the name of who asks."""


async def ask_for_archive(
    conn: Conn, run_id: int, language: Language, public_url: str | None, by: int | None = None
) -> Archive:
    """Has all bills of a run written as one ZIP; asked again, they are written again.

    Raises NotFound; Conflict while the run is making or issuing its drafts.
    """
    run = await get_run(conn, run_id)
    if run.state not in ("preview", "issued"):
        raise Conflict("run-not-settled", f"run {run_id} is {run.state}: its bills can be had once it is at rest")
    archive_id = await archive_repository.ask(conn, run.project_id, run_id, language, public_url, by)
    job_id = await enqueue(
        conn,
        ARCHIVE_JOB,
        {"archive_id": archive_id},
        project_id=run.project_id,
        dedupe_key=f"archive-{archive_id}",
        created_by=by,
    )
    await archive_repository.set_job(conn, archive_id, job_id)
    return await get_archive(conn, archive_id)


async def get_archive(conn: Conn, archive_id: int) -> Archive:
    """One archive. Raises NotFound."""
    found = await archive_repository.archive(conn, archive_id)
    if found is None:
        raise NotFound("no-such-archive", f"there is no archive {archive_id}", field="archive_id")
    return found


async def archives_of(conn: Conn, run_id: int) -> list[Archive]:
    """The archives of a run, one per language at most."""
    return await archive_repository.archives(conn, run_id)


async def write_archive(db: Database, asker: Asker, archive_id: int, progress: Progress | None = None) -> Archive:
    """Writes the ZIP from its beginning. The same bills are the same bytes. Raises NotFound."""
    async with db.transaction(asker) as conn:
        found = await get_archive(conn, archive_id)
        await archive_repository.clear_parts(conn, archive_id)
        bill_ids = await archive_repository.bill_ids(conn, found.run_id)
    translator = i18n.translator(i18n.load_catalogues(), found.language)
    writing = _Writing(db, asker, found)
    for start in range(0, len(bill_ids), _AT_ONCE):
        some = bill_ids[start : start + _AT_ONCE]
        async with db.transaction(asker) as conn:
            documents = await bill_documents(conn, some, found.language, translator, found.public_url)
        await writing.add(documents)
        if progress is not None:
            await progress(writing.bills, len(bill_ids))
    await writing.finish()
    async with db.transaction(asker) as conn:
        return await get_archive(conn, archive_id)


async def parts(connect: Connect, archive_id: int) -> AsyncIterator[bytes]:
    """The file part by part, each read by itself."""
    position = 0
    while True:
        async with connect() as conn:
            found = await archive_repository.part(conn, archive_id, position)
        if found is None:
            return
        yield found
        position += 1


def must_be_whole(found: Archive) -> None:
    """Raises Conflict while the archive is still written."""
    if found.finished_at is None:
        raise Conflict("archive-not-ready", f"archive {found.id} is still written: look at job {found.job_id}")


async def forget_archives(conn: Conn, now: datetime | None = None) -> int:
    """Deletes archives that were asked for two weeks ago or earlier; returns how many."""
    return await archive_repository.forget(conn, (now or datetime.now(UTC)) - KEPT)


class _Sink(io.RawIOBase):
    """Takes what a ZIP writer writes, until it is taken away; it cannot go back."""

    def __init__(self) -> None:
        self._held = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, data: "bytes | bytearray | memoryview") -> int:  # type: ignore[override]  # what zipfile writes
        self._held += data
        return len(data)

    def __len__(self) -> int:
        return len(self._held)

    def take(self) -> bytes:
        """What was written since it was taken last."""
        taken = bytes(self._held)
        self._held.clear()
        return taken


class _Writing:
    """A ZIP under way: at most one part and some bills of it are in memory, and the list of its names."""

    def __init__(self, db: Database, asker: Asker, archive: Archive) -> None:
        self._db = db
        self._asker = asker
        self._archive = archive
        self._sink = _Sink()
        self._zip = zipfile.ZipFile(self._sink, "w", zipfile.ZIP_STORED)
        self._position = 0
        self.bills = 0

    async def add(self, documents: list[BillDocument]) -> None:
        """Typesets these bills and adds them in this order."""
        for document, content in zip(documents, await asyncio.gather(*map(as_pdf, documents)), strict=True):
            day = document.made_at
            entry = zipfile.ZipInfo(f"{document.file_name}.pdf", (max(day.year, 1980), day.month, day.day, 0, 0, 0))
            self._zip.writestr(entry, content)
            self.bills += 1
            if len(self._sink) >= _PART_BYTES:
                await self._keep()

    async def finish(self) -> None:
        """Closes the file and marks the archive as whole."""
        self._zip.close()
        await self._keep()
        async with self._db.transaction(self._asker) as conn:
            await archive_repository.finish(conn, self._archive.id, self.bills)

    async def _keep(self) -> None:
        async with self._db.transaction(self._asker) as conn:
            await archive_repository.add_part(conn, self._archive, self._position, self._sink.take())
        self._position += 1
