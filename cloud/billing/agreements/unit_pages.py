"""What billing says on the page of a unit: the agreements of its accounts that go on."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Request
from starlette.responses import Response

from cloud.billing import service
from cloud.billing.records import Agreement
from cloud.estate import service as estate
from cloud.estate.service import EstateFilter
from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.periods import local_day
from cloud.kit.routing import page_router

router = page_router()

_ALL = PageRequest(MAX_LIMIT)


@router.get("/estate/units/{unit_id}/agreements")
async def agreements_of_unit(
    request: Request, scope: Annotated[Scope, allow_page("bills.run")], unit_id: int
) -> Response:
    """A part of the page of a unit: what its accounts are charged for from today on."""
    page, conn = await shown(request, scope), scope.conn
    accounts = (await estate.list_accounts(conn, _ALL, EstateFilter(unit_id=unit_id))).items
    zones = {one.id: one.zone for one in page.projects}
    found: list[Agreement] = []
    for account in accounts:
        today = local_day(datetime.now(UTC), zones[account.project_id])
        agreed = (await service.list_agreements(conn, _ALL, account_id=account.id)).items
        found += [one for one in agreed if one.kind != "one_off" and (one.valid_until or today) >= today]
    return page.page("parts/unit_agreements.html", found=found, numbers={one.id: one.number for one in accounts})
