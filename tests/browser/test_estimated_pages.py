"""Bills by estimate in a real browser: the form of a run with its help, the preview, a bill, what staff see to."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import pytest
from playwright.sync_api import Browser

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from tests.browser.conftest import Furnished, Site, renewed, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser


@pytest.fixture
def site(server_dsn: str, furnished: Furnished, served: tuple[str, str]) -> Site:
    """The estate, for one size of window: a month can be billed once."""
    return renewed(server_dsn, furnished, served)


async def _do(owner_dsn: str, run_id: int) -> None:
    """What the worker does with a run: drafts first, then bills of what was approved."""
    async with Database(owner_dsn, "gatemeter_worker", max_size=2) as db:
        await billing.execute_run(db, SYSTEM, run_id)


def _work(site: Site, run_id: int) -> None:
    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, _do(site.owner_dsn, run_id)).result()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_run_by_estimate_from_the_form_to_the_list(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/bill-runs")
        visitor.picture(f"estimates-form-{width}")
        assert visitor.overflow() == 0
        page.select_option("#missing_readings", "estimate")
        visitor.follow(page.get_by_role("button", name="Start the run"))
        page.wait_for_url("**/bill-runs/*")
        run_id = int(str(site.value("SELECT max(id) FROM bill_run")))
        _work(site, run_id)
        estimated = "SELECT min(b.id) FROM bill b JOIN charge c ON c.bill_id = b.id WHERE c.estimate = 'open'"
        for name, path in {
            "run": f"/bill-runs/{run_id}?estimated=true",
            "bill": f"/bills/{site.value(estimated)}",
            "bills": "/bills?estimated=true",
            "runs": "/bill-runs",
            "terms": "/payment-terms",
        }.items():
            shown = visitor.open(path).locator("main").inner_text()
            visitor.picture(f"estimates-{name}-{width}")
            assert "stimated" in shown, name
            assert visitor.overflow() == 0, name
            assert visitor.crushed() == [], name
        visitor.open(f"/bill-runs/{run_id}")
        visitor.follow(page.get_by_role("button", name="Approve and issue"))
        page.wait_for_url("**done=run-approved")
        _work(site, run_id)
        visitor.open("/estimated-services")
        visitor.picture(f"estimates-list-{width}")
        assert page.locator("tbody tr").count() > 0
        assert visitor.overflow() == 0
        assert visitor.crushed() == []
