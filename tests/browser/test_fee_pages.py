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
        page = visitor.open("/parking/lots/1/fees?tab=yaml")
        page.locator("#preview table").first.wait_for()
        _looks_well(visitor, f"staff-parking-fees-en-{width}")
        page.locator("#rule").fill("name: x\nschedule: {unit: {minutes: 60, price: 2}}\n")
        page.locator("#preview #problems").wait_for()
        _looks_well(visitor, f"staff-parking-fees-wrong-en-{width}")
        page.locator("#rule").fill('name: x\nschedule: {unit: {minutes: 60, price: "3.00"}}\n')
        page.locator("#preview table").first.wait_for()
        assert "72.00" in page.locator("#preview").inner_text()


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_rule_is_written_in_a_form(browser: Browser, site: Site, width: int, height: int, language: str) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak(language)
        page = visitor.open("/parking/lots/1/fees")
        page.locator("#stay-price").wait_for()
        _looks_well(visitor, f"staff-fee-form-{language}-{width}")
        begin = page.locator("[name='stay.from']").input_value()
        page.locator("[name='stay.to']").fill(begin.replace("T09:00", "T10:00"))
        page.locator("#stay-price", has_text="5.00").wait_for()
        price = page.locator("[name='r.schedules.0.unit.price']")
        price.fill("much")
        page.locator("[data-problem-of='r.schedules.0.unit.price']").wait_for()
        price.fill("3")
        page.locator("[data-problem-of]").first.wait_for(state="detached")
        page.locator("#changes").wait_for()
        page.locator("[name='r.schedules.0.way'][value=windows]").check()
        page.locator("button[value='add:schedules.0.windows']").click()
        start = page.locator("[name='r.schedules.0.windows.1.start']")
        start.wait_for()
        assert (price.input_value(), price.is_visible(), start.input_value()) == ("3", False, "20:00")
        page.locator("#preview table[data-class]").first.wait_for()
        _looks_well(visitor, f"staff-fee-form-windows-{language}-{width}")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_merchant_gets_coupons(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/parking/coupons")
        page.locator("input[name=name]").fill(f"Noodle house {width}")
        visitor.follow(page.get_by_role("button", name="Create"))
        visitor.follow(page.get_by_role("button", name="Issue", exact=True))
        page.locator("code").first.wait_for()
        _looks_well(visitor, f"staff-coupon-batch-en-{width}")
        visitor.follow(f"a:has-text('Noodle house {width}')")
        _looks_well(visitor, f"staff-merchant-en-{width}")
        visitor.open("/parking/coupons")
        _looks_well(visitor, f"staff-coupons-en-{width}")
