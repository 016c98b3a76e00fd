"""Page of the devices: who reports, who is silent, and what came from nobody known."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

from fastapi import Request
from starlette.responses import Response

from cloud.devices import configuration_pages, inbox_pages, order_pages, service
from cloud.devices.records import ONLINE_WITHIN, Gateway, InboxFilter
from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.kit.routing import page_router, take_in
from gateway.contract.messages import Action, DeviceHealth
from gateway.contract.orders import CUTS_SUPPLY

router = page_router()
take_in(router, order_pages.router, configuration_pages.router, inbox_pages.router)

_EXCEPTIONS = PageRequest(10)


@router.get("/devices")
async def devices(
    request: Request, scope: Annotated[Scope, allow_page("devices.read")], cursor: str | None = None
) -> Response:
    """Gateways, devices, and what waits for somebody to set it up."""
    page = await shown(request, scope)
    now = datetime.now(UTC)
    project_id = page.project.id
    waiting = InboxFilter(project_id)
    gateways = (await service.list_gateways(scope.conn, PageRequest(MAX_LIMIT), project_id)).items
    return page.page(
        "devices/list.html",
        counts=await service.device_counts(scope.conn, project_id, now),
        gateways=gateways,
        faults=_faults(gateways),
        devices=await service.list_devices(scope.conn, page_request(None, cursor), project_id),
        letters=(await service.list_dead_letters(scope.conn, _EXCEPTIONS, waiting)).items,
        unclaimed=(await service.list_unclaimed(scope.conn, _EXCEPTIONS, waiting)).items,
        online_since=now - ONLINE_WITHIN,
        actions=_actions(gateways) if scope.caller.may("commands.send", project_id) else {},
        cuts=CUTS_SUPPLY,
        order_id=uuid4,
    )


def _faults(gateways: Sequence[Gateway]) -> dict[tuple[int, str], DeviceHealth]:
    """What each gateway told of its devices in its last report, by gateway and code of the device."""
    return {
        (gateway.id, device.device): device
        for gateway in gateways
        if gateway.health is not None
        for device in gateway.health.devices
    }


def _actions(gateways: Sequence[Gateway]) -> dict[tuple[int, str], list[Action]]:
    """What each device can be told to do here, by gateway and code of the device."""
    return {
        (gateway.id, code): [action for action in order_pages.OFFERED if action in told]
        for gateway in gateways
        for code, told in service.actions_told(gateway).items()
    }
