"""Live values on the page of a meter, and webhooks from the making to the test, in a real browser."""

import time

import numpy as np
import psycopg
import pytest
from playwright.sync_api import Browser

from cloud.metering.live import batches as live_batches
from tests.browser.conftest import Site, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser

_SIZES = pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])


def _store(site: Site, value: int) -> None:
    """What ingest writes beside a reading."""
    meter = site.estate.meters[0]
    columns = (meter.id, 1, time.time_ns() // 1_000_000, value, 0)
    point = live_batches.pack([np.array([one], np.int64) for one in columns])
    with psycopg.connect(site.owner_dsn) as conn:
        conn.execute(
            "INSERT INTO live_batch (project_id, readings, points) VALUES (%s, 1, %s)", (meter.project_id, point)
        )


@_SIZES
def test_a_stored_reading_appears_by_itself(browser: Browser, site: Site, width: int, height: int) -> None:
    meter = site.estate.meters[0]
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open(f"/meters/{meter.id}")
        page.locator("[data-live-state].bg-green-lt").wait_for()
        _store(site, 1_234_567)
        page.locator("[data-live-url] td", has_text="1234.567 kWh").wait_for()
        _store(site, 1_234_600)
        page.locator("[data-live-url] td", has_text="1234.600 kWh").wait_for()
        assert page.locator("[data-live-url] tbody tr").count() == 1
        visitor.picture(f"staff-live-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])


@_SIZES
def test_a_webhook_is_made_and_tested(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/webhooks")
        visitor.picture(f"staff-webhooks-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])
        page.fill("#url", "https://example.com/hooks/meters?" + "a" * 60)
        page.fill("#name", f"Accounting {width}")
        page.check("[name=kinds][value='usage.changed']")
        visitor.follow("main form button.btn-primary")
        assert page.locator("main code").inner_text().startswith("whsec_")
        visitor.picture(f"staff-webhook-secret-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])
        visitor.follow("main a.btn-primary")
        visitor.follow("button:has-text('Send a test')")
        page.locator(".alert-success").wait_for()
        page.locator("td", has_text="waiting").wait_for()
        page.evaluate("() => document.querySelectorAll('main details').forEach(one => { one.open = true; })")
        visitor.picture(f"staff-webhook-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])
        visitor.open("/webhooks")
        visitor.picture(f"staff-webhooks-one-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])
        visitor.follow(f"a:has-text('Accounting {width}')")
        visitor.follow("button:has-text('Stop')")
        visitor.follow("button:has-text('Delete')")
        page.locator(".alert-success").wait_for()
