"""Bad input of bill runs: "run over a period with open validation exceptions (asks or bills estimated, by policy),
concurrent runs on the same project (one wins), issue twice → clear refusals; nothing half-issued."
"""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import date
from pathlib import Path

import psycopg
import pytest

from cloud.kit.db import Database
from cloud.kit.security import Keys
from tests.acceptance.money.office import Document, Office
from tests.acceptance.system import until
from tests.integration.billing.site import Site, make_site

JANUARY = date(2026, 1, 1)
ONE_AT_A_TIME = (
    "from cloud.billing.runs import drafting, issuing; drafting.CHUNK = issuing.CHUNK = drafting.AT_ONCE = 1; "
    "from cloud.cli import main; main()"
)
"""The worker as it is, but that it commits after every account instead of after hundreds."""


async def _find(site: Site, flat: int, rule: str = "spike") -> None:
    """Validation is in doubt about a reading of January."""
    await site.rows(
        """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, state)
           VALUES (%s, %s, 1, %s, '2026-01-10T00:00+08', '2026-01-11T00:00+08', 'open') RETURNING 1""",
        site.project.id, site.flats[flat].meters["electricity"], rule,
    )  # fmt: skip


async def test_accounts_with_open_findings_are_left_out_with_that_reason(office: Office) -> None:
    doubtful, good = office.site.flats
    await _find(office.site, 0)
    run = await office.preview(JANUARY)
    ((account_id, code, detail),) = [(one["account_id"], one["code"], one["detail"]) for one in run["failures"]]
    assert (account_id, code) == (doubtful.account_id, "open-exceptions")
    assert "E0" in detail, "it names the meter"
    assert "spike" in detail, "and the finding"
    await office.approve(run)
    assert [bill["account_id"] for bill in await office.bills()] == [good.account_id]


async def test_or_are_billed_where_the_run_says_so(office: Office) -> None:
    await _find(office.site, 0)
    run = await office.bill(JANUARY, open_exceptions="bill")
    assert (run["billed"], run["failures"]) == (2, [])


async def test_after_an_issued_run_those_are_tried_again_whom_it_could_not_bill_and_nobody_else(
    office: Office,
) -> None:
    """What was agreed since, and who was left out by hand, is for another run over the month."""
    doubtful, good = office.site.flats
    await _find(office.site, 0)
    first = await office.bill(JANUARY)
    charge = {"account_id": good.account_id, "category": "maintenance", "description": "A lock", "amount": "120.50"}
    await office.post("one-off-charges", project_id=office.site.project.id, **charge, day="2026-01-20")
    await office.site.rows("UPDATE meter_exception SET state = 'accepted', reason = 'a party' RETURNING id")
    started = await office.post(f"bill-runs/{first['id']}/repetitions")
    await office.work(started["job_id"])
    again = await office.run(started["run_id"])
    assert (again["id"] != first["id"], again["repeats_id"]) == (True, first["id"])
    assert (again["state"], again["billed"], again["failures"]) == ("preview", 1, [])
    assert [bill["account_id"] for bill in await office.items("bills", run_id=again["id"])] == [doubtful.account_id]
    await office.post(f"bill-runs/{again['id']}/left-out-accounts", account_id=doubtful.account_id, reason="a guest")
    issued = await office.approve(again)
    assert await office.refused(f"bill-runs/{issued['id']}/repetitions") == (409, "nobody-failed")
    rest = await office.bill(JANUARY)
    assert rest["repeats_id"] is None
    assert {bill["account_id"] for bill in await office.items("bills", run_id=rest["id"])} == {
        doubtful.account_id,
        good.account_id,
    }


async def test_of_two_runs_at_the_same_time_one_wins(office: Office) -> None:
    body = {"project_id": office.site.project.id, "start": "2026-01-01", "end": "2026-02-01"}
    answers = await asyncio.gather(*(office.ask("bill-runs", **body) for _ in range(4)))
    assert sorted(answer.status_code for answer in answers) == [202, 409, 409, 409]
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} == {"run-in-progress"}
    (won,) = [answer.json() for answer in answers if answer.status_code == 202]
    await office.work(won["job_id"])
    await office.approve({"id": won["run_id"]})
    assert len(await office.bills()) == 2
    assert await office.site.proof() == []


async def test_what_is_approved_twice_is_issued_once(office: Office) -> None:
    run = await office.preview(JANUARY)
    first, second = [await office.post(f"bill-runs/{run['id']}/approvals") for _ in range(2)]
    assert first["job_id"] == second["job_id"]
    for _ in range(2):
        await office.work(first["job_id"])
    bills = await office.bills()
    assert [bill["number"][-7:] for bill in bills] == ["-000001", "-000002"]
    assert len(await office.site.rows("SELECT FROM journal")) == 2
    assert await office.refused(f"bill-runs/{run['id']}/approvals") == (409, "run-not-in-preview")
    assert await office.refused(f"bill-runs/{run['id']}/cancellations") == (409, "run-not-in-preview")
    assert await office.bills() == bills


async def test_what_is_cancelled_or_not_looked_at_is_not_issued(office: Office) -> None:
    body = {"project_id": office.site.project.id, "start": "2026-01-01", "end": "2026-02-01"}
    started = await office.post("bill-runs", **body)
    path = f"bill-runs/{started['run_id']}"
    assert await office.refused(f"{path}/approvals") == (409, "run-not-in-preview"), "its drafts are being made"
    assert await office.refused(f"{path}/cancellations") == (409, "run-not-in-preview")
    await office.work(started["job_id"])
    await office.post(f"{path}/cancellations")
    assert await office.refused(f"{path}/approvals") == (409, "run-not-in-preview")
    assert await office.bills() == []


@pytest.mark.parametrize(
    ("change", "refusal"),
    [({"end": "2026-01-01"}, (422, "invalid")), ({"project_id": 999}, (404, "no-such-project"))],
    ids=["a period that ends before it begins", "a project that does not exist"],
)
async def test_runs_over_nothing_are_refused(
    office: Office, change: dict[str, object], refusal: tuple[int, str]
) -> None:
    body = {"project_id": office.site.project.id, "start": "2026-01-01", "end": "2026-02-01"}
    assert (await office.refused("bill-runs", **(body | change)))[0] == refusal[0]
    assert (await office.get("bill-runs"))["items"] == []


@contextmanager
def worker(owner_dsn: str, folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A real worker in a process of its own; the test may kill it."""
    keys = folder / "keys.json"
    if not keys.exists():
        Keys.generate().save(keys)
    environment = {**os.environ, "GATEMETER_DATABASE_DSN": owner_dsn, "GATEMETER_KEYS_FILE": str(keys)}
    with (folder / "worker.log").open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", ONE_AT_A_TIME, "worker", "run"],
            env=environment, cwd=Path(__file__).parents[3], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield process
        finally:
            process.kill()
            process.wait(60)


@asynccontextmanager
async def held_up(owner_dsn: str, query: str) -> AsyncIterator[None]:
    """Somebody holds these rows, so that a worker that comes to them waits."""
    async with await psycopg.AsyncConnection.connect(owner_dsn) as holder:
        await holder.execute(query.encode())
        yield
        await holder.rollback()


def _somebody_waits(site: Site) -> Callable[[], Awaitable[bool]]:
    async def now() -> bool:
        return bool(await site.rows("SELECT FROM pg_locks WHERE NOT granted"))

    return now


def _is(office: Office, run: Document, state: str) -> Callable[[], Awaitable[bool]]:
    async def now() -> bool:
        return bool((await office.get(f"bill-runs/{run['run_id']}"))["state"] == state)

    return now


async def _states(site: Site) -> list[str]:
    return [row["state"] for row in await site.rows("SELECT state FROM bill ORDER BY id")]


@pytest.mark.slow
async def test_a_worker_killed_in_the_middle_leaves_nothing_half_done_and_another_goes_on(
    office: Office, worker_db: Database, owner_dsn: str, tmp_path: Path
) -> None:
    site = await make_site(worker_db, flats=3, services=("electricity", "property"), code="three")
    office = Office(site, office.client, office.auth)
    for flat in site.flats:
        await site.read(flat, "electricity", [300_500])
    last = site.flats[2].account_id
    body = {"project_id": site.project.id, "start": "2026-01-01", "end": "2026-02-01"}
    run = await office.post("bill-runs", **body)

    async with held_up(owner_dsn, f"SELECT FROM account WHERE id = {last} FOR UPDATE"):
        with worker(owner_dsn, tmp_path):
            await until(_somebody_waits(site), "the worker is at the third account", 60)
        # Killed: two drafts are there, of the third nothing, and nobody else begins.
        assert await _states(site) == ["draft", "draft"]
        assert await office.refused("bill-runs", **body) == (409, "run-in-progress")
        assert await office.refused(f"bill-runs/{run['run_id']}/approvals") == (409, "run-not-in-preview")

    with worker(owner_dsn, tmp_path) as process:
        await until(_is(office, run, "preview"), "another worker has made the drafts", 60)
        assert await _states(site) == ["draft"] * 3
        async with held_up(owner_dsn, f"SELECT FROM bill WHERE account_id = {last} FOR UPDATE"):
            await office.post(f"bill-runs/{run['run_id']}/approvals")
            await until(_somebody_waits(site), "the worker is at the third bill", 60)
            process.kill()
            process.wait(60)
    assert sorted(await _states(site)) == ["draft", "issued", "issued"]
    # Killed in issuing: what has a number is whole and in the ledger, what has none is in no ledger.
    issued = await site.rows("SELECT number FROM bill WHERE state = 'issued' ORDER BY number")
    assert [row["number"][-7:] for row in issued] == ["-000001", "-000002"]
    assert len(await site.rows("SELECT FROM journal WHERE project_id = %s", site.project.id)) == 2

    with worker(owner_dsn, tmp_path):
        await until(_is(office, run, "issued"), "a third worker has issued the rest", 60)
    bills = await office.items("bills", run_id=run["run_id"])
    assert sorted(bill["number"][-7:] for bill in bills) == ["-000001", "-000002", "-000003"]
    assert {bill["total"]["amount"] for bill in bills} == {"357.06"}
    done = await office.run(run["run_id"])
    assert (done["accounts"], done["billed"], done["failed"], done["failures"]) == (3, 3, 0, [])
    assert len(await site.rows("SELECT FROM journal WHERE project_id = %s", site.project.id)) == 3
    assert await site.proof() == []
