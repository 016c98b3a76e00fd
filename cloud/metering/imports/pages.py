"""Pages of imports of readings: a file with a preview, how far it is, its rows with their answers, and the way on."""

from collections.abc import Sequence
from typing import Annotated, Final, get_args

from fastapi import File, Form, Request, UploadFile
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import i18n
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.pages import translator_of
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.metering import service
from cloud.metering.exports.csv_answer import csv_answer
from cloud.metering.imports import service as imports
from cloud.metering.imports.models import MOST_LINES, content_of_upload
from cloud.metering.imports.records import ImportFilter, Kind, NewImport, Outcome, RowFilter, Stamped, State

router = page_router()

Reading = Annotated[Scope, allow_page("readings.read")]
Writing = Annotated[Scope, allow_page("readings.write")]

_SHOWN: Final = 25
_ROWS_SHOWN: Final = 50
MOST_OF_A_FILE: Final = 100_000
"""Rows of the file of rows that are not stored."""
OUTCOMES: Final[Sequence[Outcome]] = ("stored", "repeated", "other-value", "needs-confirmation", "refused")
ALL_ROWS: Final = "all"
_INTERVALS: Final = (900, 1800, 3600, 86_400)


@router.get("/reading-imports")
async def list_imports(
    request: Request,
    scope: Reading,
    state: OptionalText = None,
    kind: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """Imports, newest first."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/home", 303)
    page = await shown(request, scope)
    known_state: State | None = next((one for one in get_args(State) if one == state), None)
    known_kind: Kind | None = next((one for one in get_args(Kind) if one == kind), None)
    wanted = ImportFilter(page.project.id, known_state, known_kind)
    return page.page(
        "metering/imports.html",
        found=await imports.list_imports(scope.conn, page_request(_SHOWN, cursor), wanted),
        wanted=wanted,
        states=get_args(State),
        kinds=get_args(Kind),
        may_write=scope.caller.may("readings.write", page.project.id),
    )


@router.get("/reading-imports/new")
async def new_import(request: Request, scope: Writing) -> Response:
    """The form of a file."""
    page = await shown(request, scope)
    return page.page("metering/import_new.html", intervals=_INTERVALS)


@router.post("/reading-imports")
async def create_import(
    request: Request,
    scope: Writing,
    file: Annotated[UploadFile, File()],
    kind: Annotated[Kind, Form()] = "register",
    stamped: Annotated[Stamped, Form()] = "start",
    interval_s: Annotated[OptionalId, Form()] = None,
    opening: Annotated[str, Form(max_length=40)] = "",
    time_zone: Annotated[str, Form(max_length=64)] = "",
    dry_run: Annotated[bool, Form()] = False,
) -> Response:
    """Takes a file; one that was imported already leads to that import."""
    page = await shown(request, scope)
    new = NewImport(
        page.project.id, file.filename or "", scope.caller.actor, kind, dry_run, stamped, interval_s,
        opening.strip(), time_zone.strip(),
    )  # fmt: skip
    try:
        made = await imports.create_import(scope.conn, new, await content_of_upload(file))
    except Conflict as error:
        if error.code != "file-imported":
            raise
        return _to(int(str(error.params["import_id"])), "same=1")
    await imports.ask_for_import(scope.conn, made)
    return _to(made.id)


@router.get("/reading-imports/{import_id}")
async def show_import(
    request: Request,
    scope: Reading,
    import_id: int,
    outcome: OptionalText = None,
    cursor: str | None = None,
    same: bool = False,
) -> Response:
    """How far an import is, and its rows by answer."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/home", 303)
    page = await shown(request, scope)
    made = await imports.get_import(scope.conn, import_id)
    known: Outcome | None = next((one for one in OUTCOMES if one == outcome), None)
    rows = await imports.list_rows(scope.conn, page_request(_ROWS_SHOWN, cursor), import_id, RowFilter(outcome=known))
    return page.page(
        "metering/import.html",
        made=made,
        rows=rows,
        outcome=known,
        outcomes=OUTCOMES,
        same=same,
        meters=await service.meters_by_id(scope.conn, [row.meter_id for row in rows.items if row.meter_id]),
        zone=next((one.zone for one in page.projects if one.id == made.project_id), page.project.zone),
        stuck=await imports.is_stuck(scope.conn, made),
        to_confirm=await imports.codes_to_confirm(scope.conn, import_id),
        may_write=scope.caller.may("readings.write", made.project_id),
    )


@router.get("/reading-imports/{import_id}/rows.csv")
async def rows_as_file(request: Request, scope: Reading, import_id: int) -> Response:
    """The rows that are not stored as they were, and why: to be repaired and imported again."""
    made = await imports.get_import(scope.conn, import_id)
    lines: list[list[str]] = []
    with i18n.speaking(translator_of(request, scope.caller)):
        added = [i18n.gettext("Answer"), i18n.gettext("Details of the answer")]
        async for portion in imports.rows_not_stored(scope.conn, import_id):
            lines += [[*row.raw, row.code or row.outcome, row.detail] for row in portion]
            if len(lines) >= MOST_OF_A_FILE:
                break
    kept = [nth for nth, name in enumerate(made.header) if name not in added]
    width = len(made.header)
    padded = ([*line[:-2], *[""] * (width - len(line) + 2), *line[-2:]] for line in lines)
    return csv_answer(
        f"import-{import_id}-rows.csv",
        [*(made.header[nth] for nth in kept), *added],
        ([*(line[nth] for nth in kept), *line[-2:]] for line in padded),
    )


@router.post("/reading-imports/{import_id}/confirm")
async def confirm(
    scope: Writing,
    import_id: int,
    reason: Annotated[str, Form(min_length=1, max_length=500)],
    which: Annotated[OptionalText, Form()] = None,
    lines: Annotated[list[int] | None, Form(max_length=MOST_LINES)] = None,
) -> Response:
    """Confirms the rows that were ticked; all of one code, or all, when these are named."""
    if which is None and not lines:
        raise InvalidInput("missing", "expected ticked rows", field="lines")
    code = None if which == ALL_ROWS else which
    ticked = lines if which is None else None
    await imports.confirm(scope.conn, import_id, reason, scope.caller.actor, code, ticked)
    return _to(import_id)


@router.post("/reading-imports/{import_id}/look-again")
async def look_again(scope: Writing, import_id: int) -> Response:
    """Has the rows that are not stored answered again."""
    await imports.look_again(scope.conn, import_id)
    return _to(import_id)


@router.post("/reading-imports/{import_id}/import")
async def import_once_more(scope: Writing, import_id: int, again: Annotated[bool, Form()] = False) -> Response:
    """The file of a dry run, or of an earlier import, as a new import that stores."""
    try:
        made = await imports.import_once_more(scope.conn, import_id, scope.caller.actor, again=again)
    except Conflict as error:
        if error.code != "file-imported":
            raise
        return _to(int(str(error.params["import_id"])), "same=1")
    return _to(made.id)


def _to(import_id: int, query: str = "") -> Response:
    return RedirectResponse(f"/reading-imports/{import_id}{'?' if query else ''}{query}", 303)
