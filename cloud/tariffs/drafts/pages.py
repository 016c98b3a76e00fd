"""Pages of the tariff office: tariffs and drafts, the editor with its preview, and decisions about drafts."""

from datetime import UTC, date, datetime, timedelta
from pathlib import PurePath
from typing import Annotated, Any, Literal

from fastapi import Form, Request, UploadFile
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import GatemeterError, InvalidInput
from cloud.kit.paging import page_request
from cloud.kit.periods import local_day, next_month
from cloud.kit.routing import page_router
from cloud.tariffs import service
from cloud.tariffs.drafts import service as drafting
from cloud.tariffs.drafts.differences import Difference, differences
from cloud.tariffs.drafts.editor import Editor, editor, posted, typed_trial
from cloud.tariffs.drafts.records import Draft, NewDraft
from cloud.tariffs.drafts.trial import rate_trial
from cloud.tariffs.drafts.yaml import from_yaml, to_yaml
from cloud.tariffs.files.checking import Document, check
from cloud.tariffs.files.urdb import Imported, import_urdb, read_urdb

router = page_router()

_MOST_BYTES = 1_000_000
_Code = Annotated[str, Form(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$")]
_Name = Annotated[str, Form(min_length=1, max_length=200)]
_Reader = Annotated[Scope, allow_page("tariffs.read")]
_Writer = Annotated[Scope, allow_page("tariffs.write")]
_Approver = Annotated[Scope, allow_page("tariffs.approve")]


@router.get("/tariffs")
async def tariffs(request: Request, scope: _Reader, cursor: str | None = None) -> Response:
    """Tariffs with their versions, and the drafts that are not decided."""
    page = await shown(request, scope)
    found = await service.list_tariffs(scope.conn, page_request(None, cursor), page.project.id)
    drafts = await drafting.list_drafts(scope.conn, page_request(None, None), page.project.id)
    today = local_day(datetime.now(UTC), page.project.zone)
    return page.page(
        "tariffs/list.html",
        tariffs=found,
        versions=await service.versions_of(scope.conn, [one.id for one in found.items]),
        drafts=[one for one in drafts.items if one.state not in ("published", "withdrawn")],
        today=today,
        proposed=next_month(today),
        may_write=scope.caller.may("tariffs.write", page.project.id),
    )


@router.get("/tariff-versions/{version_id}")
async def version(request: Request, scope: _Reader, version_id: int) -> Response:
    """A published version: what it says, and what it changed."""
    page = await shown(request, scope)
    tariff, found = await service.get_version(scope.conn, version_id)
    others = (await service.versions_of(scope.conn, [tariff.id]))[tariff.id]
    before = next((one for one in others if one.version == found.version - 1), None)
    with page.speaking():
        changes = [] if before is None else differences(before.content, found.content)
    return page.page(
        "tariffs/version.html",
        tariff=tariff,
        version=found,
        before=before,
        changes=changes,
        text=to_yaml(found.content.model_dump(mode="json", exclude_defaults=True)),
        proposed=next_month(local_day(datetime.now(UTC), page.project.zone)),
        may_write=scope.caller.may("tariffs.write", tariff.project_id),
    )


@router.post("/tariff-drafts")
async def new_draft(
    request: Request,
    scope: _Writer,
    code: _Code,
    name: _Name,
    service_code: Annotated[str, Form(pattern=r"^[a-z][a-z0-9_-]{0,39}$")],
    valid_from: Annotated[date, Form()],
) -> Response:
    """Begins a draft with one energy price."""
    page = await shown(request, scope)
    content: Document = {"currency": page.project.currency, "service": service_code, "unit": "kWh"}
    content["components"] = [{"kind": "energy", "code": "energy", "prices": {"all": [""]}}]
    new = NewDraft(page.project.id, code, name, valid_from, content)
    return _to(await drafting.create(scope.conn, new, scope.caller.user_id))


@router.post("/tariff-versions/{version_id}/copies")
async def copy_version(scope: _Writer, version_id: int, valid_from: Annotated[date, Form()]) -> Response:
    """Copies a published version into a draft."""
    return _to(await drafting.copy(scope.conn, version_id, valid_from, scope.caller.user_id))


@router.post("/tariff-drafts/files")
async def import_file(
    request: Request, scope: _Writer, file: UploadFile, code: _Code, valid_from: Annotated[date, Form()]
) -> Response:
    """Makes a draft of a tariff file (YAML) or of a rate of the URDB (JSON); tells what it could not take over."""
    page = await shown(request, scope)
    raw = await file.read(_MOST_BYTES + 1)
    if len(raw) > _MOST_BYTES:
        raise InvalidInput("file-too-large", f"at most {_MOST_BYTES} bytes", field="file")
    imported = _read_file(raw)
    name = imported.name or PurePath(file.filename or code).stem[:200] or code
    new = NewDraft(page.project.id, code, name, valid_from, imported.document)
    made = await drafting.create(scope.conn, new, scope.caller.user_id)
    return await _page(request, scope, made, editor(made, "form"), left_out=imported.left_out)


@router.get("/tariff-drafts/{draft_id}")
async def show_draft(
    request: Request, scope: _Reader, draft_id: int, tab: Literal["form", "yaml"] = "form"
) -> Response:
    """The editor of a draft, or what it says once it is handed in."""
    draft = await drafting.get(scope.conn, draft_id)
    return await _page(request, scope, draft, editor(draft, tab))


@router.post("/tariff-drafts/{draft_id}")
async def save_draft(
    request: Request,
    scope: _Writer,
    draft_id: int,
    name: _Name,
    valid_from: Annotated[date, Form()],
    revision: Annotated[int, Form(ge=1)],
    tab: Annotated[Literal["form", "yaml"], Form()] = "form",
    action: Annotated[str, Form(max_length=60)] = "",
) -> Response:
    """Keeps what was entered, mistakes included, after doing what the button says."""
    draft = await drafting.get(scope.conn, draft_id)
    fields = await _fields(request)
    try:
        content = posted(fields, tab, action)
        changes: dict[str, Any] = {"name": name, "valid_from": valid_from, "content": content}
        saved = await drafting.change(scope.conn, draft_id, revision, scope.caller.user_id, **changes)
    except GatemeterError as error:
        text = dict(fields).get("yaml", "")
        return await _page(request, scope, draft, editor(draft, tab, text=text), refused=error)
    return RedirectResponse(f"/tariff-drafts/{saved.id}?tab={tab}&done=saved", 303)


@router.post("/tariff-previews")
async def preview(
    request: Request, scope: _Reader, tab: Annotated[Literal["form", "yaml"], Form()] = "form"
) -> Response:
    """What an account that is typed in would pay by what is in the form now; nothing is kept."""
    page = await shown(request, scope)
    fields = await _fields(request)
    context: dict[str, Any] = {"problems": [], "tried": None, "refused": None, "document": {}}
    try:
        context["document"] = posted(fields, tab, "")
        content, context["problems"] = check(context["document"])
        if content is not None:
            context["tried"] = rate_trial(content, typed_trial(content, dict(fields)))
    except InvalidInput as error:
        context["refused"] = error
    return page.page("tariffs/preview.html", **context)


@router.post("/tariff-drafts/{draft_id}/submit")
async def submit(request: Request, scope: _Writer, draft_id: int) -> Response:
    """Hands the draft in; what is in the way is shown beside it."""
    draft = await drafting.get(scope.conn, draft_id)
    try:
        return _to(await drafting.submit(scope.conn, draft_id, scope.caller.user_id), done="tariff-submitted")
    except GatemeterError as error:
        return await _page(request, scope, draft, editor(draft, "form"), refused=error)


@router.post("/tariff-drafts/{draft_id}/withdraw")
async def withdraw(scope: _Writer, draft_id: int) -> Response:
    """Takes the draft back."""
    return _to(await drafting.withdraw(scope.conn, draft_id, scope.caller.user_id))


@router.post("/tariff-drafts/{draft_id}/approve")
async def approve(request: Request, scope: _Approver, draft_id: int) -> Response:
    """Publishes the draft."""
    draft = await drafting.get(scope.conn, draft_id)
    try:
        made = await drafting.approve(scope.conn, draft_id, scope.caller.user_id)
    except GatemeterError as error:
        return await _page(request, scope, draft, editor(draft, "form"), refused=error)
    return RedirectResponse(f"/tariff-versions/{made.id}?done=tariff-published", 303)


@router.post("/tariff-drafts/{draft_id}/reject")
async def reject(
    scope: _Approver, draft_id: int, reason: Annotated[str, Form(min_length=1, max_length=500)]
) -> Response:
    """Sends the draft back with the reason."""
    return _to(await drafting.reject(scope.conn, draft_id, scope.caller.user_id, reason))


def _to(draft: Draft, done: str = "saved") -> Response:
    return RedirectResponse(f"/tariff-drafts/{draft.id}?done={done}", 303)


async def _fields(request: Request) -> list[tuple[str, str]]:
    form = await request.form()
    return [(name, value) for name, value in form.multi_items() if isinstance(value, str)]


def _read_file(raw: bytes) -> Imported:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("bad-file", "expected a text file in UTF-8", field="file") from error
    if not text.lstrip().startswith(("{", "[")):
        return Imported(from_yaml(text), "", ())
    return import_urdb(read_urdb(text))


async def _page(
    request: Request,
    scope: Scope,
    draft: Draft,
    edited: Editor,
    *,
    refused: GatemeterError | None = None,
    left_out: tuple[str, ...] = (),
) -> Response:
    page = await shown(request, scope)
    base = await _base(scope, draft)
    with page.speaking():
        changes = _changes(base, draft)
    return page.page(
        "tariffs/draft.html",
        status=200 if refused is None else refused.status,
        draft=draft,
        editor=edited,
        base=base,
        changes=changes,
        refused=refused,
        left_out=left_out,
        may_write=scope.caller.may("tariffs.write", draft.project_id),
        may_approve=scope.caller.may("tariffs.approve", draft.project_id),
        may_read_bills=scope.caller.may("bills.read", draft.project_id),
    )


async def _base(scope: Scope, draft: Draft) -> service.TariffVersion | None:
    """What a draft is compared with: the version in force on the day before it would take over."""
    found = await service.tariff_of_code(scope.conn, draft.project_id, draft.code)
    return (
        None if found is None else await service.version_on(scope.conn, found.id, draft.valid_from - timedelta(days=1))
    )


def _changes(base: service.TariffVersion | None, draft: Draft) -> list[Difference]:
    content, _ = check(draft.content)
    return [] if base is None or content is None else differences(base.content, content)
