"""Pages of a meter as a thing in a real browser: an exchange is looked at before it is made, and nothing is ugly."""

from decimal import Decimal

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser

_OPEN_ALL = "() => document.querySelectorAll('main details').forEach(one => { one.open = true; })"


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"
    assert visitor.crushed() == [], name


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_meter_is_exchanged_sealed_and_given_back(browser: Browser, site: Site, width: int, height: int) -> None:
    meter = site.estate.meters[0]
    # A minute before the newest reading, so that both sides of the change have one.
    at = site.value(
        "SELECT to_char(date_trunc('minute', max(taken_at)) AT TIME ZONE 'Asia/Shanghai' - interval '1 minute',"
        " 'YYYY-MM-DD\"T\"HH24:MI') FROM store.reading WHERE meter_id = %s AND channel = 1",
        meter.id,
    )
    last = site.value(
        "SELECT value FROM store.reading WHERE meter_id = %s AND channel = 1"
        " AND taken_at < %s::timestamp AT TIME ZONE 'Asia/Shanghai' ORDER BY taken_at DESC LIMIT 1",
        meter.id,
        at,
    )
    assert isinstance(last, int)

    def save(visitor: Visitor, form: str, **values: str) -> None:
        visitor.page.evaluate(_OPEN_ALL)
        for name, value in values.items():
            visitor.page.fill(f"form[action='{form}'] [name='{name}']", value)
        visitor.follow(f"form[action='{form}'] button")
        visitor.page.locator(".alert-success").wait_for()

    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        visitor.open("/meters/new")
        _looks_well(visitor, f"staff-meter-new-en-{width}")
        page = visitor.open(f"/meters/{meter.id}/exchange")
        _looks_well(visitor, f"staff-meter-exchange-en-{width}")
        page.fill("[name=at]", str(at))
        page.fill("[name=final]", f"{Decimal(last + 1_000).scaleb(-3)}")
        page.fill("[name=serial]", "2026-0042")
        visitor.follow("button:has-text('Check first')")
        assert "1.000 kWh" in page.locator("#preview").inner_text()
        _looks_well(visitor, f"staff-meter-preview-en-{width}")
        visitor.follow("button:has-text('Exchange the meter')")
        page.locator(".alert-success").wait_for()

        save(visitor, f"/meters/{meter.id}/seals", number=f"S-{width}", place="terminal cover")
        save(
            visitor,
            f"/meters/{meter.id}/verifications",
            verified_on=f"2025-01-{width % 28 + 1:02}",
            certificate="V 17/3",
        )
        page.evaluate("() => document.activeElement.blur()")
        _looks_well(visitor, f"staff-meter-data-en-{width}")
        page.evaluate(_OPEN_ALL)
        _looks_well(visitor, f"staff-meter-data-open-en-{width}")
        undo = page.locator("form[action$='/undo']")
        undo.locator("[name=reason]").fill("only tried")
        visitor.follow(undo.locator("button"))
        page.locator(".alert-success").wait_for()
        assert "only tried" in page.locator("main").inner_text()
        visitor.open(f"/meters/{meter.id}/exchange?kind=removed")
        _looks_well(visitor, f"staff-meter-removal-en-{width}")
        visitor.open("/meters?due=soon")
        _looks_well(visitor, f"staff-meters-due-en-{width}")


@pytest.mark.parametrize("language", ["en", "zh-CN"])
@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_meter_that_cannot_be_worked_on_is_tried_again(
    browser: Browser, site: Site, language: str, width: int, height: int
) -> None:
    meter = site.estate.meters[0]
    site.value(
        """INSERT INTO store.set_aside (work, meter_id, attempts, next_at, reason)
           SELECT 'derive', %s, 6, now() + interval '32 minutes', 'Fault: ' || repeat('an absurd history ', 9)
           ON CONFLICT (work, meter_id) DO UPDATE SET next_at = excluded.next_at RETURNING 1""",
        meter.id,
    )
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak(language)
        page = visitor.open("/meter-health?only=set-aside")
        assert "an absurd history" in page.locator("main").inner_text()
        _looks_well(visitor, f"staff-set-aside-{language}-{width}")
        visitor.follow(f"form[action='/meters/{meter.id}/attempts'] button")
        page.locator(".alert-success").wait_for()
        _looks_well(visitor, f"staff-meter-set-aside-{language}-{width}")
    assert site.value("DELETE FROM store.set_aside RETURNING next_at <= now()") is True
