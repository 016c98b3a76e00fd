"""The tariff office in a real browser: list, editor with its live preview, and the calendar, on a desk and a phone."""

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_draft_from_a_published_version(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/tariffs")
        _looks_well(visitor, f"staff-tariffs-en-{width}")
        visitor.follow("a[href^='/tariff-versions/']")
        visitor.follow(page.get_by_role("button", name="Copy into a draft"))
        page.locator("#preview table").wait_for()
        _looks_well(visitor, f"staff-tariff-draft-en-{width}")
        page.locator("input.price").first.fill("-1")
        page.locator("#preview #problems").wait_for()
        visitor.open("/calendar")
        _looks_well(visitor, f"staff-calendar-en-{width}")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_registers_of_the_periods(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/tariffs")
        visitor.follow("a[href^='/tariff-versions/']")
        visitor.follow(page.get_by_role("button", name="Copy into a draft"))
        page.locator("#preview table").wait_for()
        visitor.follow(page.get_by_role("button", name="Tell peak and valley apart"))
        page.locator("[name='t.periods.source']").wait_for()
        page.locator("[name='t.periods.source']").select_option("registers")
        page.get_by_text("Registers of the periods").click()
        page.locator("[name='t.periods.registers.periods.0']").fill("sharp, peak")
        page.locator("[name='t.periods.registers.periods.1']").fill("peak")
        visitor.follow(page.get_by_role("button", name="Add a period"))
        page.locator("[name='t.periods.codes.2']").wait_for()
        assert "each register counted once" in page.locator("#editor").inner_text()
        _looks_well(visitor, f"staff-tariff-registers-en-{width}")
