"""Bills sent by e-mail: those of a run at once by a job, or one; each is told once, and what fails fails alone."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from cloud.billing import repository
from cloud.billing.records import BillRow, BillRun
from cloud.billing.runs import repository as run_repository
from cloud.billing.runs.drafting import Progress
from cloud.estate import service as estate
from cloud.estate.records import Account, Project
from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import Conflict
from cloud.kit.i18n import gettext as _
from cloud.kit.i18n import show_date, show_money, show_period
from cloud.kit.jobs import enqueue
from cloud.kit.portions import by_halves
from cloud.notices import service as notices
from cloud.notices.records import BILL, Notice, NoticeFilter, Saying, Text

MAIL_JOB: Final = "billing.mail-bills"
ABOUT: Final = "bill"
_AT_ONCE: Final = 500


def batch_of(run_id: int) -> str:
    """What the notices of a run are found by."""
    return f"bill-run:{run_id}"


def must_be_set_up(*, is_set_up: bool) -> None:
    """Raises Conflict where no mail can be sent: nothing is to wait for a server that nobody named."""
    if not is_set_up:
        raise Conflict("mail-off", "mail is not set up on this installation (GATEMETER_SMTP_HOST)")


async def mail_on_issue(conn: Conn, run: BillRun) -> None:
    """Has the bills of a run that was just issued sent, where the run or else the project wants it."""
    wanted = run.mail_bills
    if wanted is None:
        wanted = (await notices.get_settings(conn, run.project_id)).bills_on_issue
    if wanted:
        await _enqueue(conn, run, None)


async def ask_to_mail(conn: Conn, run: BillRun, by: int | None) -> int:
    """Has the bills of a run sent to those who were not told yet; returns the id of the job that writes the notices.

    It may be asked for again: nobody gets a bill twice. Raises Conflict unless the run is issued.
    """
    if run.state != "issued":
        raise Conflict("run-not-issued", f"run {run.id} is {run.state}: bills are sent once they are issued")
    return await _enqueue(conn, run, by)


async def _enqueue(conn: Conn, run: BillRun, by: int | None) -> int:
    return await enqueue(
        conn, MAIL_JOB, {"run_id": run.id}, project_id=run.project_id, dedupe_key=f"mail-{run.id}", created_by=by
    )


async def mail_run(db: Database, asker: Asker, run: BillRun, progress: Progress | None = None) -> int:
    """Writes a notice for every bill of an issued run, those that have one left out; how many are new.

    Raises Conflict, once all others are told of, for bills that cannot be: they are tried again.
    """
    async with db.transaction(asker) as conn:
        project = await estate.get_project(conn, run.project_id)
        bill_ids = await run_repository.issued_bills(conn, run.id)
    untold: dict[int, str] = {}

    async def told(some: Sequence[int]) -> int:
        async with db.transaction(asker) as conn:
            return len(await _say(conn, project, await repository.bills_by_id(conn, some), batch_of(run.id)))

    async def fails(bill_id: int, error: Exception) -> int:
        untold[bill_id] = refusal(error)[1]
        return 0

    new = 0
    for start in range(0, len(bill_ids), _AT_ONCE):
        some = bill_ids[start : start + _AT_ONCE]
        new += sum(await by_halves(some, told, fails))
        if progress is not None:
            await progress(start + len(some), len(bill_ids))
    for bill_id, why in untold.items():
        raise Conflict("bills-not-told", f"{len(untold)} bills of run {run.id} could not be told of: {bill_id}: {why}")
    return new


async def mail_bill(conn: Conn, bill: BillRow) -> Notice:
    """Sends one bill; one that was sent before is sent once more, to the address of today.

    Raises Conflict for a draft, and while it waits to be sent.
    """
    if bill.number is None:
        raise Conflict("bill-not-issued", "a draft is not sent: it is no bill yet")
    project = await estate.get_project(conn, bill.project_id)
    before = (await notices.last_about(conn, project.id, ABOUT, [bill.id])).get(bill.id)
    if before is not None and before.state in ("queued", "sending"):
        raise Conflict("still-waiting", "it has not ended yet: it is tried again by itself")
    if before is not None and before.state != "sent":
        return await notices.send_again(conn, before.id)
    # Two who ask at once name the same notice before it: one of them is told, the other finds it said.
    if before is not None:
        await _say(conn, project, [bill], "", f"{_key(bill.id)}:after-{before.id}")
    else:
        run_id = await run_repository.run_of_bill(conn, bill.id)
        await _say(conn, project, [bill], "" if run_id is None else batch_of(run_id))
    return (await notices.last_about(conn, project.id, ABOUT, [bill.id]))[bill.id]


async def mailed(conn: Conn, project_id: int, run_id: int) -> dict[str, int]:
    """How many bills of a run were told of, by state of the notice."""
    return await notices.counts(conn, NoticeFilter(project_id, batch=batch_of(run_id)))


def _key(bill_id: int) -> str:
    return f"bill:{bill_id}"


async def _say(
    conn: Conn, project: Project, bills: Sequence[BillRow], batch: str, key: str | None = None
) -> dict[str, int]:
    accounts = await estate.accounts_by_id(conn, {bill.account_id for bill in bills})
    sayings = [
        Saying(
            accounts[bill.account_id].person_id,
            BILL,
            key or _key(bill.id),
            partial(_text, bill, accounts[bill.account_id], project),
            account_id=bill.account_id,
            about=(ABOUT, bill.id),
            batch=batch,
        )
        for bill in bills
        if bill.account_id in accounts
    ]
    return await notices.say(conn, project.id, sayings)


def _text(bill: BillRow, account: Account, project: Project) -> Text:
    period, total = show_period(bill.period), show_money(bill.total, bill.currency)
    names = {"number": bill.number or "", "period": period, "amount": total, "project": project.name}
    where = " · ".join(part for part in (account.number, account.unit_label) if part)
    told = [_("Bill %(number)s for %(period)s comes to %(amount)s.") % names, where]
    if bill.owing and bill.due_on is not None:
        told.append(_("Please pay by %(day)s.") % {"day": show_date(bill.due_on)})
    told.append(_("The bill is attached as a PDF file. What it follows from you see here:"))
    return Text(_("Bill for %(period)s · %(project)s") % names, tuple(told), f"/my/bills/{bill.id}")
