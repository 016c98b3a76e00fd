"""Page of what a gateway is to run: versions with their fate, what changed, a new one, and the way back."""

import asyncio
from collections.abc import Mapping
from typing import Annotated, Final

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.devices import configuring, service
from cloud.devices.differences import Line, differences
from cloud.devices.records import Configuration
from cloud.estate.shown import OptionalId, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from gateway.contract import limits

router = page_router()

_SHOWN: Final = 20
_Reason = Annotated[str, Form(min_length=1, max_length=200)]
_EMPTY: Final = "# time_zone, periods, lines, barriers: only what is to differ from the site file of the gateway\n{}\n"


@router.get("/devices/gateways/{gateway_id}/configurations")
async def configurations(
    request: Request,
    scope: Annotated[Scope, allow_page("devices.read")],
    gateway_id: int,
    number: OptionalId = None,
    cursor: str | None = None,
) -> Response:
    """Versions, newest first; of one of them what it changed, its content, and the way back to it."""
    newest = await configuring.newest_number(scope.conn, gateway_id)
    latest = await configuring.get_configuration(scope.conn, gateway_id, newest) if newest else None
    text = _EMPTY if latest is None else latest.site
    return await _page(request, scope, gateway_id, number or newest, text, newest, cursor=cursor)


@router.post("/devices/gateways/{gateway_id}/configurations")
async def configure(
    request: Request,
    scope: Annotated[Scope, allow_page("gateways.configure")],
    gateway_id: int,
    site: Annotated[str, Form(min_length=1, max_length=limits.MAX_SITE_CHARS)],
    reason: _Reason,
    newest: Annotated[int, Form(ge=0)],
) -> Response:
    """Sends a new one, with the templates of the one before; what is wrong with it is shown beside its text."""
    # Browsers end the lines of a form their own way.
    text = site.replace("\r\n", "\n")
    before = await configuring.get_configuration(scope.conn, gateway_id, newest) if newest else None
    templates = {} if before is None else before.templates
    try:
        made = await configuring.configure(
            scope.conn, gateway_id, text, templates, scope.caller.actor, reason, newest=newest
        )
    except InvalidInput as error:
        return await _page(request, scope, gateway_id, newest, text, newest, reason=reason, problems=error.detail)
    return RedirectResponse(_address(gateway_id, made.number), 303)


@router.post("/devices/gateways/{gateway_id}/configurations/{number}/restore")
async def restore(
    scope: Annotated[Scope, allow_page("gateways.configure")],
    gateway_id: int,
    number: int,
    reason: _Reason,
    newest: Annotated[int, Form(ge=0)],
) -> Response:
    """Sends the content of an earlier one again; sent twice it is refused the second time."""
    made = await configuring.restore(scope.conn, gateway_id, number, scope.caller.actor, reason, newest=newest)
    return RedirectResponse(_address(gateway_id, made.number), 303)


async def _page(
    request: Request,
    scope: Scope,
    gateway_id: int,
    number: int,
    text: str,
    newest: int,
    *,
    cursor: str | None = None,
    reason: str = "",
    problems: str = "",
) -> Response:
    gateway = await service.get_gateway(scope.conn, gateway_id)
    chosen = await configuring.get_configuration(scope.conn, gateway_id, number) if number else None
    page = await shown(request, scope)
    return page.page(
        "devices/configurations.html",
        status=422 if problems else 200,
        gateway=gateway,
        versions=await configuring.list_configurations(scope.conn, page_request(_SHOWN, cursor), gateway_id),
        chosen=chosen,
        changes=[] if chosen is None else await _changes(scope.conn, chosen),
        newest=newest,
        text=text,
        reason=reason,
        problems=problems.splitlines(),
        may_configure=scope.caller.may("gateways.configure", gateway.project_id),
    )


async def _changes(conn: Conn, chosen: Configuration) -> list[Line]:
    """What it changed against the version before it; everything when there was none."""
    before = await configuring.find_before(conn, chosen)
    return await asyncio.to_thread(differences, _files(before), _files(chosen))


def _files(configuration: Configuration | None) -> Mapping[str, str]:
    if configuration is None:
        return {}
    templates = {f"templates/{name}.yaml": text for name, text in configuration.templates.items()}
    return {"site.yaml": configuration.site, **templates}


def _address(gateway_id: int, number: int) -> str:
    return f"/devices/gateways/{gateway_id}/configurations?number={number}&done=configured"
