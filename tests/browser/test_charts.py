"""What draws charts comes where there is one, and a page without it stays a page."""

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Site, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser

_LIBRARY = "echarts.min.js"


def test_pages_without_a_chart_load_nothing_that_draws_one(browser: Browser, site: Site) -> None:
    meter = f"/meters/{site.estate.meters[0].id}?step=month"
    with visiting(browser, site, STAFF) as visitor:
        assert not any(_LIBRARY in name for name in _loaded(visitor.open("/audit")))
        page = visitor.open(meter)
        assert sum(_LIBRARY in name for name in _loaded(page)) == 1
        assert page.locator("[data-chart-drawn] canvas").count() == page.locator("[data-chart-url]").count() > 0


def test_a_chart_that_cannot_be_drawn_says_so_and_is_tried_again(browser: Browser, site: Site) -> None:
    with visiting(browser, site, STAFF) as visitor:
        visitor.speak("en")
        visitor.page.route(f"**/{_LIBRARY}*", lambda route: route.abort())
        page = visitor.open(f"/meters/{site.estate.meters[0].id}?step=month")
        assert page.locator("[data-chart-url]").first.inner_text() == "The chart could not be loaded."
        assert visitor.complaints == ["Failed to load resource: net::ERR_FAILED"]
        visitor.complaints.clear()
        visitor.page.unroute_all()
        page.locator("[href*='step=day']").first.click()
        page.locator("[data-chart-drawn] canvas").first.wait_for()


def _loaded(page: Page) -> list[str]:
    names: list[str] = page.evaluate("() => performance.getEntriesByType('resource').map(one => one.name)")
    return names
