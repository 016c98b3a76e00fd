"""REST: work in the background, and reports."""

from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router, take_in
from cloud.reports import work
from cloud.reports.models import JobOut, JobQuery
from cloud.reports.parking import api as parking

router = rest_router("jobs")
take_in(router, parking.router)

Reader = Annotated[Scope, allow("jobs.read")]


@router.get("/jobs")
async def list_jobs(scope: Reader, query: Annotated[JobQuery, Query()]) -> Listed[JobOut]:
    """Jobs of your projects, newest first."""
    page = await work.list_jobs(scope.conn, query.page(), query.wanted())
    return Listed(items=[JobOut.model_validate(job) for job in page.items], next_cursor=page.next_cursor)


@router.get("/jobs/{job_id}")
async def get_job(scope: Reader, job_id: Id) -> JobOut:
    """One job: how far it is, what came of it, or why it failed."""
    return JobOut.model_validate(await work.get_job(scope.conn, job_id))
