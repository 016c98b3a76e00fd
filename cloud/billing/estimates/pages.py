"""The page of services that are billed by estimate: whose meters somebody has to read."""

from typing import Annotated, Final

from fastapi import Request
from starlette.responses import Response

from cloud.billing import service
from cloud.estate import service as estate
from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.metering import service as metering

router = page_router()

_SHOWN: Final = 50


@router.get("/estimated-services")
async def estimated(
    request: Request,
    scope: Annotated[Scope, allow_page("bills.run")],
    prolonged: bool = False,
    cursor: str | None = None,
) -> Response:
    """All of them, or those that are estimated for too long."""
    page = await shown(request, scope)
    found = await service.estimated_services(
        scope.conn, page_request(_SHOWN, cursor), page.project.id, prolonged=prolonged
    )
    return page.page(
        "billing/estimated.html",
        found=found,
        prolonged=prolonged,
        accounts=await estate.accounts_by_id(scope.conn, {one.account_id for one in found.items}),
        meters=await metering.meters_by_id(scope.conn, {one.meter_id for one in found.items}),
    )
