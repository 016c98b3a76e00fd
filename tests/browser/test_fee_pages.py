"""Fee rules and coupons in a real browser: the editor with its live preview, a merchant's coupons, desk and phone."""

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_rule_is_priced_while_it_is_typed(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/parking/lots/1/fees")
        page.locator("#preview table").first.wait_for()
        _looks_well(visitor, f"staff-parking-fees-en-{width}")
        page.locator("#rule").fill("name: x\nschedule: {unit: {minutes: 60, price: 2}}\n")
        page.locator("#preview #problems").wait_for()
        _looks_well(visitor, f"staff-parking-fees-wrong-en-{width}")
        page.locator("#rule").fill('name: x\nschedule: {unit: {minutes: 60, price: "3.00"}}\n')
        page.locator("#preview table").first.wait_for()
        assert "72.00" in page.locator("#preview").inner_text()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_merchant_gets_coupons(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/parking/coupons")
        page.locator("input[name=name]").fill(f"Noodle house {width}")
        page.get_by_role("button", name="Create").click()
        page.get_by_role("button", name="Issue", exact=True).click()
        page.locator("code").first.wait_for()
        _looks_well(visitor, f"staff-coupon-batch-en-{width}")
        page.get_by_role("link", name=f"Noodle house {width}").click()
        _looks_well(visitor, f"staff-merchant-en-{width}")
        visitor.open("/parking/coupons")
        _looks_well(visitor, f"staff-coupons-en-{width}")
