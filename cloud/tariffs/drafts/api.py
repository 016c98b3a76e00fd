"""REST: drafts of tariff versions and their way to publication; the schema of tariff files."""

from typing import Annotated

from fastapi import Query, Response

from cloud.identity.guards import Scope, allow
from cloud.kit.errors import InvalidInput
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.tariffs import service
from cloud.tariffs.drafts import service as drafting
from cloud.tariffs.drafts.differences import differences
from cloud.tariffs.drafts.models import (
    DifferenceOut,
    DifferencesOut,
    DraftChangeIn,
    DraftCopyIn,
    DraftIn,
    DraftOut,
    DraftQuery,
    OwnApprovalIn,
    RejectionIn,
)
from cloud.tariffs.drafts.records import NewDraft
from cloud.tariffs.files.checking import check
from cloud.tariffs.files.schema import tariff_schema
from cloud.tariffs.models import TariffVersionOut

router = rest_router("tariffs")

Reader = Annotated[Scope, allow("tariffs.read")]
Writer = Annotated[Scope, allow("tariffs.write")]
Approver = Annotated[Scope, allow("tariffs.approve")]


@router.get("/tariff-schema")
async def get_schema(_scope: Reader) -> Response:
    """The JSON Schema of tariff files and of the content of drafts and versions."""
    return Response(tariff_schema(), media_type="application/schema+json")


@router.get("/tariff-drafts")
async def list_drafts(scope: Reader, query: Annotated[DraftQuery, Query()]) -> Listed[DraftOut]:
    """Drafts, newest first, with their mistakes."""
    page = await drafting.list_drafts(scope.conn, query.page(), query.project_id, query.state)
    return Listed(items=[DraftOut.of(draft) for draft in page.items], next_cursor=page.next_cursor)


@router.post("/tariff-drafts", status_code=201)
async def create_draft(body: DraftIn, scope: Writer, once: Once) -> DraftOut:
    """Keeps a draft. Its content may have mistakes, which the answer tells, until it is handed in."""

    async def make() -> DraftOut:
        new = NewDraft(body.project_id, body.code, body.name, body.valid_from, body.content)
        return DraftOut.of(await drafting.create(scope.conn, new, scope.caller.user_id))

    return await once.answer(scope.conn, DraftOut, make)


@router.post("/tariff-drafts/copies", status_code=201)
async def copy_version(body: DraftCopyIn, scope: Writer, once: Once) -> DraftOut:
    """Copies a published version into a new draft."""

    async def make() -> DraftOut:
        return DraftOut.of(await drafting.copy(scope.conn, body.version_id, body.valid_from, scope.caller.user_id))

    return await once.answer(scope.conn, DraftOut, make)


@router.get("/tariff-drafts/{draft_id}")
async def get_draft(draft_id: Id, scope: Reader) -> DraftOut:
    """A draft with its mistakes."""
    return DraftOut.of(await drafting.get(scope.conn, draft_id))


@router.patch("/tariff-drafts/{draft_id}")
async def change_draft(draft_id: Id, body: DraftChangeIn, scope: Writer) -> DraftOut:
    """Changes a draft that is not handed in; 409 when somebody else changed it since `revision`."""
    changes = body.model_dump(exclude_none=True, exclude={"revision"})
    return DraftOut.of(await drafting.change(scope.conn, draft_id, body.revision, scope.caller.user_id, **changes))


@router.get("/tariff-drafts/{draft_id}/differences")
async def compare_draft(draft_id: Id, scope: Reader, version_id: Id) -> DifferencesOut:
    """What a draft changes against a published version, place by place."""
    draft = await drafting.get(scope.conn, draft_id)
    _, version = await service.get_version(scope.conn, version_id)
    content, _problems = check(draft.content)
    if content is None:
        raise InvalidInput("draft-has-mistakes", "the draft has mistakes: correct them first", field="draft_id")
    return DifferencesOut(items=[DifferenceOut.of(one) for one in differences(version.content, content)])


@router.post("/tariff-drafts/{draft_id}/submissions", status_code=201)
async def submit_draft(draft_id: Id, scope: Writer, once: Once) -> DraftOut:
    """Hands a draft without mistakes in for approval."""

    async def make() -> DraftOut:
        return DraftOut.of(await drafting.submit(scope.conn, draft_id, scope.caller.user_id))

    return await once.answer(scope.conn, DraftOut, make)


@router.post("/tariff-drafts/{draft_id}/approvals", status_code=201)
async def approve_draft(draft_id: Id, scope: Approver, once: Once) -> TariffVersionOut:
    """Publishes a submitted draft from its first day on. Its author cannot, unless the project allows that."""

    async def make() -> TariffVersionOut:
        return TariffVersionOut.of(await drafting.approve(scope.conn, draft_id, scope.caller.user_id))

    return await once.answer(scope.conn, TariffVersionOut, make)


@router.post("/tariff-drafts/{draft_id}/rejections", status_code=201)
async def reject_draft(draft_id: Id, body: RejectionIn, scope: Approver, once: Once) -> DraftOut:
    """Sends a submitted draft back with the reason."""

    async def make() -> DraftOut:
        return DraftOut.of(await drafting.reject(scope.conn, draft_id, scope.caller.user_id, body.reason))

    return await once.answer(scope.conn, DraftOut, make)


@router.post("/tariff-drafts/{draft_id}/withdrawals", status_code=201)
async def withdraw_draft(draft_id: Id, scope: Writer, once: Once) -> DraftOut:
    """Takes a submitted draft back to be changed; gives up one that is not handed in."""

    async def make() -> DraftOut:
        return DraftOut.of(await drafting.withdraw(scope.conn, draft_id, scope.caller.user_id))

    return await once.answer(scope.conn, DraftOut, make)


@router.put("/tariff-approval-rules")
async def set_own_approval(body: OwnApprovalIn, scope: Annotated[Scope, allow("users.manage")]) -> OwnApprovalIn:
    """Says whether the people of a project may approve tariffs that they wrote themselves."""
    await drafting.set_own_approval(scope.conn, body.project_id, body.allowed)
    return body
