"""A run is gone on with for those whom it has not billed: at once, and nobody is billed twice."""

from typing import Any

import httpx
import psycopg
import pytest

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.runs import drafting
from cloud.kit.db import SYSTEM
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from tests.integration.app import People, once
from tests.integration.billing.site import Site, noon
from tests.integration.billing.test_checked_before_bills import FEBRUARY, JANUARY, run_of, started
from tests.integration.billing.test_one_bad_account import STEPS, bad, breaks, others, site, site_world
from tests.integration.browser import Browser, text_of

__all__ = ["site", "site_world"]

Said = dict[str, Any]


async def _manager(site: Site, people: People) -> dict[str, str]:
    return await people.staff("manager", site.project.id)


async def _repeat(client: httpx.AsyncClient, auth: dict[str, str], run_id: int, expected: int = 202) -> Said:
    answer = await client.post(f"/api/v1/bill-runs/{run_id}/repetitions", headers=auth | once())
    assert answer.status_code == expected, answer.text
    found: Said = answer.json()
    return found


def _context(site: Site, repeated: Said) -> JobContext:
    return JobContext(repeated["job_id"], site.project.id, {"run_id": repeated["run_id"]}, site.db)


async def test_a_preview_is_gone_on_with_for_those_that_failed(
    site: Site, app_client: httpx.AsyncClient, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who was left out by hand stays out, and drafts that are there stay as they are."""
    auth, context = await _manager(site, people), await started(site, JANUARY, FEBRUARY)
    with monkeypatch.context() as broken:
        breaks(broken, *STEPS["measured"](site), KeyError("whatever it is"))
        await jobs.run(context)
    run = await run_of(site, context)
    out = others(site)[0]
    async with site.db.transaction(SYSTEM) as conn:
        await billing.leave_out(conn, run.id, out, "a special case")
    drafts = [bill.id for bill in await site.bills(state="draft")]
    assert (await _repeat(app_client, auth, run.id, 409))["code"] == "run-in-progress", "its job has yet to end"
    await site.rows("UPDATE job SET state = 'done' RETURNING id")
    repeated = await _repeat(app_client, auth, run.id)
    assert repeated["run_id"] == run.id
    await jobs.run(_context(site, repeated))
    after = (await app_client.get(f"/api/v1/bill-runs/{run.id}", headers=auth)).json()
    assert (after["state"], after["billed"], after["failed"]) == ("preview", 4, 1)
    failures = (await app_client.get(f"/api/v1/bill-runs/{run.id}/failures", headers=auth)).json()["items"]
    assert [one["code"] for one in failures] == ["left-out"]
    assert set(drafts) < {bill.id for bill in await site.bills(state="draft")}
    assert out not in {bill.account_id for bill in await site.bills()}


async def test_after_an_issued_run_another_one_begins(
    site: Site, app_client: httpx.AsyncClient, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth = await _manager(site, people)
    with monkeypatch.context() as broken:
        breaks(broken, *STEPS["measured"](site), KeyError("whatever it is"))
        run = await site.run(JANUARY)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    anna = Browser(app_client, auth)
    page = text_of(await anna.see(f"/bill-runs/{run.id}"))
    for said in (
        "0001",
        "A-0001",
        "KeyError: 'whatever it is'",
        "Tell whoever looks after the system",
        "Try them again",
    ):
        assert said in page
    await anna.send(f"/bill-runs/{run.id}/repeat")
    (job,) = await site.rows("SELECT id, payload FROM job WHERE kind = 'billing.run' ORDER BY id DESC LIMIT 1")
    await jobs.run(JobContext(job["id"], site.project.id, job["payload"], site.db))
    async with site.db.transaction(SYSTEM) as conn:
        again = await billing.run_of_job(conn, job["id"])
    assert (again.id != run.id, again.state, again.billed, again.failed) == (True, "preview", 1, 0)
    assert (again.period, again.repeats_id) == (run.period, run.id)
    assert f"could not bill: Bill run {run.id}" in text_of(await anna.see(f"/bill-runs/{again.id}"))
    assert [bill.account_id for bill in await site.bills(state="draft")] == [bad(site).account_id]


async def test_a_run_that_broke_off_says_why_and_is_gone_on_with(
    site: Site, app_client: httpx.AsyncClient, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth, context = await _manager(site, people), await started(site, JANUARY, FEBRUARY)
    with monkeypatch.context() as broken:
        breaks(broken, drafting, "draft", lambda *_: True, psycopg.errors.DiskFull("no space left on device"))
        with pytest.raises(psycopg.errors.DiskFull):
            await jobs.run(context)
    await site.rows("UPDATE job SET state = 'failed', error = 'DiskFull: no space left on device' RETURNING id")
    run = await run_of(site, context)
    said = (await app_client.get(f"/api/v1/bill-runs/{run.id}", headers=auth)).json()
    assert (said["state"], said["failed"], said["broke_off"]) == ("failed", 0, "DiskFull: no space left on device")
    repeated = await _repeat(app_client, auth, run.id)
    assert repeated["job_id"] != context.job_id
    assert (await _repeat(app_client, auth, run.id, 409))["code"] == "run-not-over"
    assert (await jobs.run(_context(site, repeated)))["billed"] == 5


async def test_a_run_that_nobody_could_write_down_as_failed_is_gone_on_with(
    site: Site, app_client: httpx.AsyncClient, people: People
) -> None:
    """The database was gone when it broke off, and its job gave up."""
    auth, context = await _manager(site, people), await started(site, JANUARY, FEBRUARY)
    run = await run_of(site, context)
    assert (await _repeat(app_client, auth, run.id, 409))["code"] == "run-not-over"
    await site.rows("UPDATE job SET state = 'failed', error = 'the worker died' RETURNING id")
    repeated = await _repeat(app_client, auth, run.id)
    assert (await jobs.run(_context(site, repeated)))["billed"] == 5


async def test_a_job_that_waits_to_try_again_is_due_at_once(
    site: Site, app_client: httpx.AsyncClient, people: People
) -> None:
    auth, context = await _manager(site, people), await started(site, JANUARY, FEBRUARY)
    await site.rows("UPDATE bill_run SET state = 'failed' RETURNING id")
    await site.rows("UPDATE job SET state = 'queued', run_at = now() + interval '1 hour' RETURNING id")
    repeated = await _repeat(app_client, auth, (await run_of(site, context)).id)
    assert repeated["job_id"] == context.job_id
    assert await site.rows("SELECT FROM job WHERE run_at <= now()") != []


async def test_issuing_that_gave_up_is_asked_for_again(
    site: Site, app_client: httpx.AsyncClient, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The page says so; whoever approved it stays who approved it."""
    auth, context = await _manager(site, people), await started(site, JANUARY, FEBRUARY)
    await jobs.run(context)
    run = await run_of(site, context)
    async with site.db.transaction(SYSTEM) as conn:
        first = await billing.approve_run(conn, run.id, 7)
        assert await billing.approve_run(conn, run.id, 8) == first
    with monkeypatch.context() as broken:
        breaks(broken, *STEPS["ledger"](site), psycopg.errors.DiskFull("no space left on device"))
        with pytest.raises(psycopg.errors.DiskFull):
            await billing.issue_run(site.db, SYSTEM, run.id, now=noon(FEBRUARY))
    await site.rows("UPDATE job SET state = 'failed', error = 'DiskFull' WHERE id = %s RETURNING id", first)
    repeated = await _repeat(app_client, auth, run.id)
    assert repeated["run_id"] == run.id
    assert repeated["job_id"] != first
    done = await billing.issue_run(site.db, SYSTEM, run.id, now=noon(FEBRUARY))
    assert (done.state, done.billed, done.approved_by) == ("issued", 5, 7)
    async with site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="issued"):
            await billing.approve_run(conn, run.id, 8)


async def test_what_was_thrown_away_is_not_gone_on_with(
    site: Site, app_client: httpx.AsyncClient, people: People
) -> None:
    auth, context = await _manager(site, people), await started(site, JANUARY, FEBRUARY)
    await jobs.run(context)
    run = await run_of(site, context)
    async with site.db.transaction(SYSTEM) as conn:
        await billing.cancel_run(conn, run.id)
    assert (await _repeat(app_client, auth, run.id, 409))["code"] == "run-not-over"


async def test_whom_a_run_could_not_bill_is_paged_and_found_by_reason(
    site: Site, app_client: httpx.AsyncClient, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    auth, context = await _manager(site, people), await started(site, JANUARY, FEBRUARY)
    await jobs.run(context)
    run = await run_of(site, context)
    for flat in site.flats[:3]:
        async with site.db.transaction(SYSTEM) as conn:
            await billing.leave_out(conn, run.id, flat.account_id, "a special case")
    async with site.db.transaction(SYSTEM) as conn:
        change = "UPDATE bill_run_failure SET code = 'missing-area' WHERE account_id = %s"
        await conn.execute(change, (site.flats[1].account_id,))
    where, seen, cursor = f"/api/v1/bill-runs/{run.id}/failures", [], ""
    while cursor is not None:
        page = (await app_client.get(f"{where}?limit=1{cursor}", headers=auth)).json()
        seen += page["items"]
        cursor = page["next_cursor"] and f"&cursor={page['next_cursor']}"
    numbers = ["A-0000", "A-0001", "A-0002"]
    assert [(one["account_number"], one["code"]) for one in seen] == list(
        zip(numbers, ("left-out", "missing-area", "left-out"), strict=True)
    )
    found = (await app_client.get(f"{where}?code=missing-area", headers=auth)).json()
    assert [one["account_number"] for one in found["items"]] == numbers[1:2]
    assert (await app_client.get("/api/v1/bill-runs/999/failures", headers=auth)).status_code == 404
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    anna = Browser(app_client, auth)
    whole = text_of(await anna.see(f"/bill-runs/{run.id}"))
    some = text_of(await anna.see(f"/bill-runs/{run.id}?reason=missing-area"))
    assert [number in whole for number in numbers] == [True, True, True]
    assert [number in some for number in numbers] == [False, True, False]
