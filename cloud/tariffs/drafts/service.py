"""Drafts of tariff versions: written, handed in, approved by a second person, published; or rejected or withdrawn."""

from dataclasses import replace
from datetime import date
from typing import Any

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, Forbidden, InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.tariffs import service
from cloud.tariffs.drafts import repository as draft_repository
from cloud.tariffs.drafts.records import Draft, DraftState, NewDraft
from cloud.tariffs.files.checking import read
from cloud.tariffs.model.tariff import TariffContent
from cloud.tariffs.service import TariffVersion


async def create(conn: Conn, new: NewDraft, author: int | None) -> Draft:
    """Keeps a new draft; its content may have mistakes."""
    await service.check_place(conn, new.project_id)
    return await get(conn, await draft_repository.insert(conn, new, author))


async def copy(conn: Conn, version_id: int, valid_from: date, author: int | None) -> Draft:
    """A new draft with the content of a published version. Raises NotFound."""
    tariff, version = await service.get_version(conn, version_id)
    content = version.content.model_dump(mode="json", exclude_defaults=True)
    new = NewDraft(tariff.project_id, tariff.code, tariff.name, valid_from, content, copied_from=version.id)
    return await create(conn, new, author)


async def get(conn: Conn, draft_id: int) -> Draft:
    """One draft. Raises NotFound."""
    found = await draft_repository.draft(conn, draft_id)
    if found is None:
        raise NotFound("no-tariff-draft", f"there is no tariff draft {draft_id}", field="draft_id")
    return found


async def list_drafts(
    conn: Conn, page: PageRequest, project_id: int | None = None, state: DraftState | None = None
) -> Page[Draft]:
    """Drafts, newest first."""
    rows = await draft_repository.drafts(conn, project_id, state, before=after_id(page, MAX_ID), limit=page.limit + 1)
    return cut(rows, page, lambda one: (one.id,))


async def change(conn: Conn, draft_id: int, revision: int, author: int | None, **changes: Any) -> Draft:
    """Changes `code`, `name`, `valid_from` or `content` of a draft that is not handed in; a rejected one is open again.

    Raises Conflict when it was changed since that revision or is decided, NotFound.
    """
    draft = await _locked(conn, draft_id)
    if not draft.editable:
        raise Conflict("draft-not-open", f"the draft is {draft.state}: take it back or copy it first")
    new = NewDraft(draft.project_id, draft.code, draft.name, draft.valid_from, draft.content, draft.copied_from)
    if not await draft_repository.change(conn, draft_id, replace(new, **changes), author, revision):
        raise Conflict("draft-changed", "somebody changed the draft meanwhile: look at it first", field="revision")
    return await get(conn, draft_id)


async def submit(conn: Conn, draft_id: int, by: int | None) -> Draft:
    """Hands a draft in for approval. Raises InvalidContent with its mistakes, and what publishing it would raise."""
    draft = await _locked(conn, draft_id)
    if not draft.editable:
        raise Conflict("draft-not-open", f"the draft is {draft.state}")
    await _publishable(conn, draft)
    await draft_repository.decide(conn, draft_id, "submitted", by)
    return await get(conn, draft_id)


async def withdraw(conn: Conn, draft_id: int, by: int | None) -> Draft:
    """Takes a submitted draft back to be changed; one that is not handed in is given up for good."""
    draft = await _locked(conn, draft_id)
    if draft.state in ("withdrawn", "published"):
        raise Conflict("draft-not-open", f"the draft is {draft.state}")
    state: DraftState = "draft" if draft.state == "submitted" else "withdrawn"
    await draft_repository.decide(conn, draft_id, state, by)
    return await get(conn, draft_id)


async def reject(conn: Conn, draft_id: int, by: int | None, reason: str) -> Draft:
    """Sends a submitted draft back with the reason. Raises InvalidInput without one."""
    if not reason.strip():
        raise InvalidInput("no-reason", "a reason is needed", field="reason")
    await _submitted(conn, draft_id)
    await draft_repository.decide(conn, draft_id, "rejected", by, reason.strip())
    return await get(conn, draft_id)


async def approve(conn: Conn, draft_id: int, by: int | None) -> TariffVersion:
    """Publishes a submitted draft from its first day on.

    Raises Forbidden when somebody approves what he wrote some of, or a program does what a program wrote, and the
    project does not allow that; and what `publish` raises.
    """
    draft = await _submitted(conn, draft_id)
    if by in draft.authors or (by is None and draft.author is None):
        await own_approval(conn, draft.project_id)
    content = await _publishable(conn, draft)
    version = await service.publish(
        conn, draft.project_id, draft.code, draft.name, content.service, content, draft.valid_from, by
    )
    await draft_repository.decide(conn, draft_id, "published", by, version_id=version.id)
    return version


async def own_approval(conn: Conn, project_id: int) -> None:
    """Raises Forbidden unless the project lets people publish what they wrote themselves."""
    if not await draft_repository.own_approved(conn, project_id):
        raise Forbidden("needs-second-person", "another person than the author approves a tariff in this project")


async def set_own_approval(conn: Conn, project_id: int, allowed: bool) -> None:
    """Whether people may approve what they wrote themselves. Raises NotFound."""
    if not await draft_repository.set_own_approved(conn, project_id, allowed):
        raise NotFound("no-such-project", "there is no such project", field="project_id")


async def _locked(conn: Conn, draft_id: int) -> Draft:
    found = await draft_repository.draft(conn, draft_id, lock=True)
    return found if found is not None else await get(conn, draft_id)


async def _submitted(conn: Conn, draft_id: int) -> Draft:
    draft = await _locked(conn, draft_id)
    if draft.state != "submitted":
        raise Conflict("draft-not-submitted", f"the draft is {draft.state}: only a submitted one is decided")
    return draft


async def _publishable(conn: Conn, draft: Draft) -> TariffContent:
    content = read(draft.content)
    await service.check_version(conn, draft.project_id, draft.code, content, draft.valid_from)
    return content
