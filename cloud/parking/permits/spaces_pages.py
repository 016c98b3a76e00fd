"""Pages of the numbered spaces of permits: one more, one less, and those that were only written."""

from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.estate.shown import shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit import forms
from cloud.kit.routing import page_router
from cloud.parking.permits import service, standing
from cloud.parking.permits.pages import answer
from cloud.parking.permits.written import numbers_in
from cloud.parking.spaces import service as spaces

router = page_router()

Writer = Annotated[Scope, allow_page("parking.write")]


@router.post("/parking/permits/{permit_id}/spaces")
async def give_spaces(
    request: Request, scope: Writer, permit_id: int, number: Annotated[str, Form(max_length=200)]
) -> Response:
    """The space of this number, or several with commas between them, for the permit."""
    page = await shown(request, scope)

    async def make() -> None:
        found = await service.get_permit(scope.conn, permit_id)
        for space_id in await spaces.by_numbers(scope.conn, found.lot_ids, numbers_in(number)):
            await standing.give_space(scope.conn, permit_id, space_id)

    return await answer(page, permit_id, await forms.refused(scope.conn, make))


@router.post("/parking/permits/{permit_id}/spaces/{space_id}/removal")
async def take_space_back(request: Request, scope: Writer, permit_id: int, space_id: int) -> Response:
    """A space is not the permit's any more."""
    page = await shown(request, scope)
    problem = await forms.refused(scope.conn, lambda: standing.take_space_back(scope.conn, permit_id, space_id))
    return await answer(page, permit_id, problem)


@router.post("/parking/permits/spaces/matching")
async def match_written(request: Request, scope: Writer) -> Response:
    """Makes spaces of the numbers that permits have in writing, and shows what is left."""
    page = await shown(request, scope)
    matched = await standing.match_written(scope.conn, page.project.id)
    return RedirectResponse(f"/parking/permits?written=true&matched={matched}", 303)
