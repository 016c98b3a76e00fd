"""Page of the devices whose readings cannot be used; the page of the devices shows the first of it."""

from datetime import UTC, datetime
from typing import Annotated, Final

from fastapi import Query, Request
from starlette.responses import Response

from cloud.devices import service as devices
from cloud.estate.shown import OptionalId, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.metering.unusable import service as unusable

router = page_router()

_SHOWN: Final = 50


@router.get("/devices/unusable")
async def unusable_readings(
    request: Request,
    scope: Annotated[Scope, allow_page("devices.read")],
    device: OptionalId = None,
    size: Annotated[int, Query(ge=1, le=_SHOWN)] = _SHOWN,
    cursor: str | None = None,
) -> Response:
    """Unusable readings of the last 7 days by device and reason, most first."""
    page = await shown(request, scope)
    asked = page_request(size, cursor, key_length=unusable.KEY_LENGTH)
    return page.page(
        "metering/unusable.html",
        found=await unusable.list_unusable(scope.conn, asked, page.project.id, datetime.now(UTC), device),
        device=None if device is None else await devices.get_device(scope.conn, device),
    )
