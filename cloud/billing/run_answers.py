"""What REST answers who begins a bill run or goes on with one."""

from collections.abc import Awaitable, Callable

from fastapi import Response

from cloud.billing import service
from cloud.billing.models import RunStartedOut
from cloud.identity.guards import Scope
from cloud.kit.idempotency import Once


async def started(scope: Scope, response: Response, once: Once, begin: Callable[[], Awaitable[int]]) -> RunStartedOut:
    """The job that `begin` asks for, and its run; once, whoever sends it again. `Location` leads to the job."""

    async def make() -> RunStartedOut:
        job_id = await begin()
        run = await service.run_of_job(scope.conn, job_id)
        return RunStartedOut(
            run_id=run.id, job_id=job_id, run=f"/api/v1/bill-runs/{run.id}", job=f"/api/v1/jobs/{job_id}"
        )

    answer = await once.answer(scope.conn, RunStartedOut, make)
    response.headers["Location"] = answer.job
    return answer
