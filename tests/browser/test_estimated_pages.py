"""Bills by estimate in a real browser: the form of a run with its help, the preview, a bill, what staff see to."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from tests.browser.conftest import Site, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser


async def _do(owner_dsn: str, run_id: int) -> None:
    """What the worker does with a run: drafts first, then bills of what was approved."""
    async with Database(owner_dsn, "gatemeter_worker", max_size=2) as db:
        await billing.execute_run(db, SYSTEM, run_id)


def _work(site: Site, run_id: int) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _do(site.owner_dsn, run_id)).result()


def test_a_run_by_estimate_from_the_form_to_the_list(browser: Browser, site: Site) -> None:
    with visiting(browser, site, STAFF, 390, 844) as visitor:
        visitor.speak("en")
        page = visitor.open("/bill-runs")
        visitor.picture("estimates-form-390")
        assert visitor.overflow() == 0
        page.select_option("#missing_readings", "estimate")
        page.get_by_role("button", name="Start the run").click()
        page.wait_for_url("**/bill-runs/*")
    run_id = int(str(site.value("SELECT max(id) FROM bill_run")))
    _work(site, run_id)
    bill_id = site.value("SELECT min(b.id) FROM bill b JOIN charge c ON c.bill_id = b.id WHERE c.estimate = 'open'")
    pages = {
        "run": f"/bill-runs/{run_id}?estimated=true",
        "bill": f"/bills/{bill_id}",
        "bills": "/bills?estimated=true",
        "runs": "/bill-runs",
        "terms": "/payment-terms",
    }
    for width in (390, 1280):
        with visiting(browser, site, STAFF, width) as visitor:
            visitor.speak("en")
            for name, path in pages.items():
                shown = visitor.open(path).locator("main").inner_text()
                visitor.picture(f"estimates-{name}-{width}")
                assert "stimated" in shown, name
                assert visitor.overflow() == 0, name
                assert visitor.crushed() == [], name
    with visiting(browser, site, STAFF, 1280) as visitor:
        visitor.speak("en")
        visitor.open(f"/bill-runs/{run_id}").get_by_role("button", name="Approve and issue").click()
        visitor.page.wait_for_url("**done=run-approved")
    _work(site, run_id)
    for width in (390, 1280):
        with visiting(browser, site, STAFF, width) as visitor:
            visitor.speak("en")
            page = visitor.open("/estimated-services")
            visitor.picture(f"estimates-list-{width}")
            assert page.locator("tbody tr").count() > 0
            assert visitor.overflow() == 0
            assert visitor.crushed() == []
