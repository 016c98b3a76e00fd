"""Page of a tariff draft on a real account: the issued bill and the draft, line by line."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from cloud.billing.what_if.trial import WhatIf, what_if
from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError, InvalidInput, NotFound
from cloud.kit.paging import PageRequest
from cloud.kit.routing import page_router
from cloud.tariffs.drafts import service as drafting
from cloud.tariffs.drafts.records import Draft
from cloud.tariffs.files.checking import check

router = page_router()


@router.get("/tariff-drafts/{draft_id}/what-if")
async def compare(
    request: Request,
    scope: Annotated[Scope, allow_page("bills.read")],
    draft_id: int,
    account: Annotated[str, Query(max_length=100)],
) -> Response:
    """The last bill of the account beside what it would be by the draft."""
    page = await shown(request, scope)
    draft = await drafting.get(scope.conn, draft_id)
    found: WhatIf | None = None
    refused: GatemeterError | None = None
    try:
        found = await compared(scope.conn, draft, await _account_id(scope.conn, draft.project_id, account.strip()))
    except GatemeterError as error:
        refused = error
    return page.page("billing/what_if.html", draft=draft, account=account, found=found, refused=refused)


async def compared(conn: Conn, draft: Draft, account_id: int) -> WhatIf:
    """The draft on an account. Raises InvalidInput when the draft has mistakes, and what `what_if` raises."""
    content, _ = check(draft.content)
    if content is None:
        raise InvalidInput("draft-has-mistakes", "the draft has mistakes: correct them first", field="draft_id")
    return await what_if(conn, account_id, content)


async def _account_id(conn: Conn, project_id: int, number: str) -> int:
    wanted = EstateFilter(project_id=project_id, number=number)
    found = await estate.list_accounts(conn, PageRequest(2), wanted)
    exact = [one for one in found.items if one.number == number]
    if not exact:
        raise NotFound("no-such-account", f"there is no account {number}", field="account")
    return exact[0].id
