"""A bill run in a real browser that could not bill some accounts: which, why, what to do, and trying them again."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from playwright.sync_api import Browser

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from tests.browser.conftest import Furnished, Site, renewed, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser

REASONS = [
    ("missing-reading", "electricity: meter E2 has no reading at the start of 2026-05-01"),
    ("not-judged", "meter E3: what it counted cannot be worked on: ZeroDivisionError: division by zero"),
    (
        "refused",
        'new row for relation "bill_line" violates check constraint "bill_line_amount_is_quantity_times_price"',
    ),
]


@pytest.fixture
def site(server_dsn: str, furnished: Furnished, served: tuple[str, str]) -> Site:
    """The estate, for one size of window: a month can be billed once."""
    return renewed(server_dsn, furnished, served)


async def _do(owner_dsn: str, run_id: int) -> None:
    async with Database(owner_dsn, "gatemeter_worker", max_size=2) as db:
        await billing.execute_run(db, SYSTEM, run_id)


def _fail(site: Site, run_id: int) -> None:
    """Three accounts could not be billed, each for another reason, and have no draft."""
    with psycopg.connect(site.owner_dsn) as conn:
        accounts = conn.execute("SELECT project_id, id FROM account ORDER BY id LIMIT 3").fetchall()
        for (project_id, account_id), (code, detail) in zip(accounts, REASONS, strict=True):
            conn.execute("DELETE FROM bill WHERE run_id = %s AND account_id = %s", (run_id, account_id))
            conn.execute(
                "INSERT INTO bill_run_failure (project_id, run_id, account_id, code, detail)"
                " VALUES (%s, %s, %s, %s, %s) ON CONFLICT (run_id, account_id) DO NOTHING",
                (project_id, run_id, account_id, code, detail),
            )
        conn.execute("UPDATE bill_run SET failed = 3, accounts = billed + 3 WHERE id = %s", (run_id,))


def _becomes(site: Site, run_id: int, state: str) -> None:
    """The run is in this state; making its drafts or issuing them gave up."""
    job = "failed" if state in ("failed", "approved") else "done"
    with psycopg.connect(site.owner_dsn) as conn:
        conn.execute("UPDATE job SET state = %s, error = 'DiskFull: could not extend file'", (job,))
        conn.execute(
            "UPDATE bill_run SET state = %s, issue_job_id = CASE WHEN %s THEN job_id END WHERE id = %s",
            (state, state == "approved", run_id),
        )


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_accounts_that_could_not_be_billed(
    browser: Browser, site: Site, width: int, height: int, language: str
) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("zh-CN" if language == "zh" else language)
        page = visitor.open("/bill-runs")
        page.select_option("#missing_readings", "estimate")
        visitor.follow(page.locator("form[action='/bill-runs'] button.btn-primary"))
        page.wait_for_url("**/bill-runs/*")
        run_id = int(str(site.value("SELECT max(id) FROM bill_run")))
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _do(site.owner_dsn, run_id)).result()
        _fail(site, run_id)
        for state in ("preview", "failed", "approved", "issued"):
            _becomes(site, run_id, state)
            page = visitor.open(f"/bill-runs/{run_id}")
            visitor.picture(f"run-{state}-{language}-{width}")
            assert page.locator("#failures tbody tr").count() == 3, state
            assert page.locator("form[action$='/repeat']").count() == 1, state
            assert visitor.overflow() == 0, state
            assert visitor.crushed() == [], state
        visitor.follow(page.locator("form[action$='/repeat'] button"))
        page.wait_for_url("**done=run-started")
        assert int(str(site.value("SELECT max(id) FROM bill_run"))) == run_id + 1
