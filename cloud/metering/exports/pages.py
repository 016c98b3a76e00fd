"""Downloads from the pages: the files of the API by session, and their errors as pages."""

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response

from cloud.identity.guards import Scope, allow_page
from cloud.kit.routing import page_router
from cloud.metering.exports.answer import ReadingFileQuery, UsageFileQuery, readings_file, usage_file

router = page_router()


@router.get("/exports/readings")
async def readings(
    request: Request,
    scope: Annotated[Scope, allow_page("readings.read")],
    query: Annotated[ReadingFileQuery, Query()],
) -> Response:
    """All readings of a place."""
    return await readings_file(request, scope, query)


@router.get("/exports/usage")
async def usage(
    request: Request, scope: Annotated[Scope, allow_page("usage.read")], query: Annotated[UsageFileQuery, Query()]
) -> Response:
    """Usage of a place in steps."""
    return await usage_file(request, scope, query)
