"""Pages: a picture of a vehicle, asking for one, for how long they are kept."""

from typing import Annotated
from uuid import UUID

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.pictures import picture
from cloud.kit.routing import page_router
from cloud.parking.pictures import service
from cloud.parking.pictures.api import links_of

router = page_router()


@router.get("/parking/pictures/{passage_id}")
async def show(scope: Annotated[Scope, allow_page("parking.read")], passage_id: UUID) -> Response:
    """The picture itself."""
    return picture(await service.get_picture(scope.conn, passage_id), "image/jpeg", f"passage-{passage_id}")


@router.post("/parking/pictures/{passage_id}/request")
async def ask(
    request: Request,
    scope: Annotated[Scope, allow_page("parking.operate")],
    passage_id: UUID,
    lane: Annotated[int | None, Form(ge=1)] = None,
) -> Response:
    """Orders a picture from its gateway; the desk, or the page of the passage, shows it when it came."""
    await service.ask(scope.conn, links_of(request), passage_id, scope.caller.actor)
    there = f"/parking/passages/{passage_id}?" if lane is None else f"/parking/desk?lane={lane}&"
    return RedirectResponse(f"{there}done=picture-ordered", 303)


@router.post("/parking/picture-policy")
async def set_policy(
    request: Request,
    scope: Annotated[Scope, allow_page("parking.write")],
    kept_days: Annotated[int, Form(ge=1, le=3650)],
) -> Response:
    """For how many days pictures of the project are kept."""
    page = await shown(request, scope)
    await service.set_kept_days(scope.conn, page.project.id, kept_days)
    return RedirectResponse("/parking/desk?done=saved", 303)
