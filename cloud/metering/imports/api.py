"""REST: imports of readings: a file in, its rows and answers out, confirmation and another look."""

from typing import Annotated

from fastapi import File, Form, Query, UploadFile
from pydantic import Field

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.metering.imports import service as imports
from cloud.metering.imports.models import (
    ConfirmationIn,
    ImportOut,
    ImportQuery,
    OnceMoreIn,
    RowOut,
    RowQuery,
    content_of_upload,
)
from cloud.metering.imports.records import Kind, NewImport, Stamped

router = rest_router("metering")

Reading = Annotated[Scope, allow("readings.read")]
Writing = Annotated[Scope, allow("readings.write")]


@router.post("/reading-imports", status_code=201)
async def create_import(
    scope: Writing,
    once: Once,
    file: Annotated[UploadFile, File(description="CSV or XLSX, at most 32 MiB.")],
    project_id: Annotated[Id, Form()],
    kind: Annotated[Kind, Form()] = "register",
    stamped: Annotated[Stamped, Form(description="Which end of an interval its time is.")] = "start",
    interval_s: Annotated[Annotated[int, Field(ge=1)] | None, Form(description="Of rows without a length.")] = None,
    opening: Annotated[str, Form(max_length=40, description="Where registers without readings begin.")] = "",
    time_zone: Annotated[
        str, Form(max_length=64, description="Of times without an offset; empty: the project's.")
    ] = "",
    dry_run: Annotated[bool, Form(description="Only say what would happen.")] = False,
    again: Annotated[bool, Form(description="Also when this file was imported already.")] = False,
) -> ImportOut:
    """A file of readings; a job answers and stores its rows (docs/readings-import.md)."""

    async def make() -> ImportOut:
        new = NewImport(
            project_id,
            file.filename or "",
            scope.caller.actor,
            kind,
            dry_run,
            stamped,
            interval_s,
            opening,
            time_zone,
        )
        made = await imports.create_import(scope.conn, new, await content_of_upload(file), again=again)
        await imports.ask_for_import(scope.conn, made)
        return ImportOut.of(made)

    return await once.answer(scope.conn, ImportOut, make)


@router.get("/reading-imports")
async def list_imports(scope: Reading, query: Annotated[ImportQuery, Query()]) -> Listed[ImportOut]:
    """Imports, newest first."""
    page = await imports.list_imports(scope.conn, query.page(), query.wanted())
    return Listed(items=[ImportOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/reading-imports/{import_id}")
async def get_import(scope: Reading, import_id: Id) -> ImportOut:
    """One import and how far it is."""
    return ImportOut.of(await imports.get_import(scope.conn, import_id))


@router.get("/reading-imports/{import_id}/rows")
async def list_rows(scope: Reading, import_id: Id, query: Annotated[RowQuery, Query()]) -> Listed[RowOut]:
    """Rows with their answers, in the order of the file."""
    page = await imports.list_rows(scope.conn, query.page(), import_id, query.wanted())
    return Listed(items=[RowOut.of(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/reading-imports/{import_id}/confirmations", status_code=201)
async def confirm(import_id: Id, body: ConfirmationIn, scope: Writing, once: Once) -> ImportOut:
    """Confirms rows that look wrong; they are stored by a job and count in usage."""

    async def make() -> ImportOut:
        actor = scope.caller.actor
        return ImportOut.of(await imports.confirm(scope.conn, import_id, body.reason, actor, body.code, body.lines))

    return await once.answer(scope.conn, ImportOut, make)


@router.post("/reading-imports/{import_id}/repetitions", status_code=201)
async def look_again(import_id: Id, scope: Writing, once: Once) -> ImportOut:
    """Has the rows that are not stored answered again, as after a missing meter was created."""

    async def make() -> ImportOut:
        return ImportOut.of(await imports.look_again(scope.conn, import_id))

    return await once.answer(scope.conn, ImportOut, make)


@router.post("/reading-imports/{import_id}/imports", status_code=201)
async def import_once_more(import_id: Id, body: OnceMoreIn, scope: Writing, once: Once) -> ImportOut:
    """The file of a dry run, or of an earlier import, as a new import that stores."""

    async def make() -> ImportOut:
        actor = scope.caller.actor
        return ImportOut.of(await imports.import_once_more(scope.conn, import_id, actor, again=body.again))

    return await once.answer(scope.conn, ImportOut, make)
