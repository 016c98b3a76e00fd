"""REST: bills by e-mail, those of a run or one."""

from typing import Annotated

from fastapi import Request, Response
from pydantic import BaseModel, Field

from cloud.billing import service
from cloud.billing.mailing import service as mailing
from cloud.billing.models import RunStartedOut
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id
from cloud.kit.routing import rest_router
from cloud.notices.models import NoticeOut

router = rest_router("billing")

Runner = Annotated[Scope, allow("bills.run")]


class MailingOut(BaseModel):
    """How many bills of a run were told of, by state of the notice; `notices` lists them."""

    run_id: int
    states: Annotated[dict[str, int], Field(examples=[{"sent": 96, "suppressed": 4}])]
    notices: Annotated[str, Field(examples=["/api/v1/notices?project_id=1&batch=bill-run:7"])]


@router.post("/bill-runs/{run_id}/mailings", status_code=202)
async def mail_run(request: Request, run_id: Id, response: Response, scope: Runner, once: Once) -> RunStartedOut:
    """Sends the bills of an issued run to those who were not told yet, by the job that `Location` leads to.

    It may be asked for again: nobody gets a bill twice. Who has no address, declined or could not be reached is in
    `GET /notices?batch=bill-run:…`.
    """
    mailing.must_be_set_up(is_set_up=request.app.state.settings.mail_is_set_up)

    async def make() -> RunStartedOut:
        run = await service.get_run(scope.conn, run_id)
        job_id = await mailing.ask_to_mail(scope.conn, run, scope.caller.user_id)
        return RunStartedOut(
            run_id=run_id, job_id=job_id, run=f"/api/v1/bill-runs/{run_id}", job=f"/api/v1/jobs/{job_id}"
        )

    started = await once.answer(scope.conn, RunStartedOut, make)
    response.headers["Location"] = started.job
    return started


@router.get("/bill-runs/{run_id}/mailing")
async def mailing_of_run(scope: Runner, run_id: Id) -> MailingOut:
    """Who of a run was told."""
    run = await service.get_run(scope.conn, run_id)
    states = await mailing.mailed(scope.conn, run.project_id, run_id)
    listed = f"/api/v1/notices?project_id={run.project_id}&batch={mailing.batch_of(run_id)}"
    return MailingOut(run_id=run_id, states=states, notices=listed)


@router.post("/bills/{bill_id}/mailings", status_code=201)
async def mail_bill(request: Request, bill_id: Id, scope: Runner, once: Once) -> NoticeOut:
    """Sends one bill; one that was sent before is sent once more, to the address of today."""
    mailing.must_be_set_up(is_set_up=request.app.state.settings.mail_is_set_up)

    async def make() -> NoticeOut:
        bill = await service.get_bill(scope.conn, bill_id)
        return NoticeOut.of(await mailing.mail_bill(scope.conn, bill.summary))

    return await once.answer(scope.conn, NoticeOut, make)
