"""Editing readings and thresholds in a real browser: what an edit does is seen first, on a phone as well."""

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, visiting
from tests.browser.estate import STAFF
from tests.browser.test_meter_pages import _looks_well

pytestmark = pytest.mark.browser


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_reading_is_edited_and_taken_back(browser: Browser, site: Site, width: int, height: int) -> None:
    meter = site.estate.meters[1]
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open(f"/meters/{meter.id}/readings")
        _looks_well(visitor, f"staff-readings-en-{width}")
        visitor.follow(page.locator("tr", has_text="m³").nth(5).get_by_role("link", name="Edit"))
        page.locator("#edit").wait_for()
        page.locator("label", has_text="leave the reading out").click()
        page.fill("#reason", "the meter was being read")
        visitor.follow(page.get_by_role("button", name="Check first"))
        page.locator("#preview").wait_for()
        assert "Usage will go without it" in page.locator("#preview").inner_text()
        _looks_well(visitor, f"staff-reading-preview-en-{width}")
        visitor.follow(page.get_by_role("button", name="Do it"))
        page.locator(".alert-success").wait_for()
        _looks_well(visitor, f"staff-reading-edited-en-{width}")
        page = visitor.open(f"/meters/{meter.id}/readings?only=edited")
        _looks_well(visitor, f"staff-readings-edited-en-{width}")
        visitor.follow(page.get_by_role("link", name="Undo"))
        page.locator("#edit").wait_for()
        assert page.locator("input[value=original]").is_checked()
        page.fill("#reason", "it was right")
        visitor.follow(page.get_by_role("button", name="Check first"))
        visitor.follow(page.get_by_role("button", name="Do it"))
        page.locator(".alert-success").wait_for()
        assert "never" not in page.locator("table").first.inner_text()
        visitor.open(f"/meters/{meter.id}/edits")
        _looks_well(visitor, f"staff-edits-en-{width}")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_thresholds_are_a_form(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/thresholds/water-residential")
        page.locator("[name=zero_days]").fill("9")
        page.locator("[name='rules.leak']").select_option("info")
        visitor.follow(page.get_by_role("button", name="Save"))
        page.locator(".alert-success").wait_for()
        _looks_well(visitor, f"staff-thresholds-saved-en-{width}")
        page.locator("[name=zero_days]").fill("0")
        visitor.complaints.clear()
        visitor.follow(page.get_by_role("button", name="Save"))
        page.locator(".is-invalid").wait_for()
        _looks_well(visitor, f"staff-thresholds-wrong-en-{width}")
        # The browser reports the status of a page that says what is wrong.
        assert all("422" in one for one in visitor.complaints)
        visitor.complaints.clear()
        page.locator("[name=zero_days]").fill("")
        page.locator("[name='rules.leak']").select_option("")
        visitor.follow(page.get_by_role("button", name="Save"))
        page.locator(".alert-success").wait_for()
