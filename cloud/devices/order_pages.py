"""Pages of orders to devices: giving one, with a second question before a supply is cut, and what became of each."""

from datetime import timedelta
from typing import Annotated, Final
from uuid import UUID, uuid5

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.devices import service
from cloud.devices.records import CommandFilter
from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import Conflict
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from gateway.contract.messages import Action, CommandState
from gateway.contract.orders import CUTS_SUPPLY

router = page_router()

_VALID_FOR: Final = timedelta(seconds=60)
_SHOWN: Final = 25
_OF_LANES: Final = (Action.OPEN_BARRIER, Action.CLOSE_BARRIER, Action.SHOW_DUE)
OFFERED: Final = tuple(action for action in Action if action not in _OF_LANES)
"""Barriers are opened at the desk of the car park, where their vehicles are seen."""


@router.get("/devices/orders")
async def orders(
    request: Request,
    scope: Annotated[Scope, allow_page("devices.read")],
    state: OptionalText = None,
    action: OptionalText = None,
    device: OptionalId = None,
    cursor: str | None = None,
) -> Response:
    """Orders, newest first, and how far each got."""
    page = await shown(request, scope)
    wanted = CommandFilter(page.project.id, device, state, action)
    return page.page(
        "devices/orders.html",
        orders=await service.list_commands(scope.conn, page_request(_SHOWN, cursor, key_length=2), wanted),
        wanted=wanted,
        device=None if device is None else await service.get_device(scope.conn, device),
        states=tuple(CommandState),
        actions=tuple(Action),
    )


@router.post("/devices/{device_id}/orders")
async def order(
    request: Request,
    scope: Annotated[Scope, allow_page("commands.send")],
    device_id: int,
    action: Annotated[Action, Form()],
    reason: Annotated[str, Form(min_length=1, max_length=200)],
    order_id: Annotated[UUID, Form()],
    sure: Annotated[str, Form(max_length=10)] = "",
) -> Response:
    """Gives an order to a device. What cuts a supply is asked for once more first; sent twice it is one order."""
    device = await service.get_device(scope.conn, device_id)
    if action not in OFFERED:
        raise Conflict("cannot", f"{action} is not ordered here")
    if action in CUTS_SUPPLY and sure != "yes":
        page = await shown(request, scope)
        return page.page("devices/order.html", device=device, action=action, reason=reason, order_id=order_id)
    await service.queue_command(
        scope.conn, device.project_id, device_id, action, {}, scope.caller.actor, reason, _VALID_FOR,
        # One form has a button for each action: who goes back and presses another one gives another order.
        order_id=uuid5(order_id, action.value),
    )  # fmt: skip
    return RedirectResponse(f"/devices/orders?device={device_id}&done=ordered", 303)
