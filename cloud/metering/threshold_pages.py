"""Pages of the bounds that rules go by: of every class in a project, and of one meter."""

from collections.abc import Mapping
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import InvalidInput
from cloud.metering import service, threshold_overrides

router = APIRouter(include_in_schema=False)

_Settings = Annotated[str, Form(max_length=10_000)]


@router.get("/thresholds")
async def of_project(request: Request, scope: Annotated[Scope, allow_page("meters.write")]) -> Response:
    """Every class of meters with its bounds in the project."""
    page = await shown(request, scope)
    found = await threshold_overrides.of_project(scope.conn, page.project.id)
    return page.page("metering/thresholds.html", meter=None, overrides=found, as_text=_text)


@router.post("/thresholds")
async def set_of_class(
    request: Request,
    scope: Annotated[Scope, allow_page("meters.write")],
    meter_class: Annotated[str, Form(max_length=64)],
    settings: _Settings,
) -> Response:
    """Says what differs for a class."""
    page = await shown(request, scope)
    await threshold_overrides.set_of_class(scope.conn, page.project.id, meter_class, _read(settings))
    return RedirectResponse("/thresholds", 303)


@router.get("/meters/{meter_id}/thresholds")
async def of_meter(request: Request, scope: Annotated[Scope, allow_page("meters.write")], meter_id: int) -> Response:
    """The bounds of one meter."""
    page = await shown(request, scope)
    meter = await service.get_meter(scope.conn, meter_id)
    found = await threshold_overrides.of_meter(scope.conn, meter_id)
    return page.page("metering/thresholds.html", meter=meter, overrides=[found], as_text=_text)


@router.post("/meters/{meter_id}/thresholds")
async def set_of_meter(
    scope: Annotated[Scope, allow_page("meters.write")], meter_id: int, settings: _Settings
) -> Response:
    """Says what differs for one meter."""
    await threshold_overrides.set_of_meter(scope.conn, meter_id, _read(settings))
    return RedirectResponse(f"/meters/{meter_id}/thresholds", 303)


def _text(settings: Mapping[str, Any]) -> str:
    return orjson.dumps(dict(settings), option=orjson.OPT_INDENT_2).decode() if settings else ""


def _read(text: str) -> dict[str, Any]:
    try:
        found = orjson.loads(text) if text.strip() else {}
    except orjson.JSONDecodeError as error:
        raise InvalidInput("bad-threshold", f"not JSON: {error}", field="settings") from error
    if not isinstance(found, dict):
        raise InvalidInput("bad-threshold", "expected an object", field="settings")
    return found
