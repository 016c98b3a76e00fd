"""The usage page in a real browser: from the project down to a meter, compared, on a desk and on a phone."""

import pytest
from playwright.sync_api import Browser, Page

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import RESIDENT, STAFF

pytestmark = pytest.mark.browser


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"
    assert visitor.crushed() == [], name


def _reloads(page: Page, act: str, *said: str) -> None:
    """Changes a field or clicks, and waits until the page has followed."""
    with page.expect_response(lambda answer: "/usage?" in answer.url and answer.status == 200):
        if act == "fill":
            page.fill(*said)
            page.locator(said[0]).dispatch_event("change")
        elif act == "click":
            page.click(*said)
        else:
            page.select_option(*said)
    page.wait_for_function("() => !document.querySelector('.htmx-request, .htmx-swapping, .htmx-settling')")
    page.wait_for_load_state("networkidle")
    page.locator("[data-chart-url]:not([data-chart-drawn]):not(:has(.chart-message))").first.wait_for(state="detached")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_staff_look_from_the_project_down_to_a_meter(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/usage")
        page.locator("#ranking").wait_for()
        _looks_well(visitor, f"staff-usage-project-en-{width}")
        first = page.locator("#ranking tbody tr a").first.inner_text()
        _reloads(
            page, "select", "#building_id", page.locator("#building_id option").nth(1).get_attribute("value") or ""
        )
        _reloads(page, "select", "#unit_id", page.locator("#unit_id option").nth(1).get_attribute("value") or "")
        assert "unit_id=" in page.url
        _reloads(page, "select", "#kind", "year")
        _looks_well(visitor, f"staff-usage-unit-year-en-{width}")
        page.fill("#code", first[:2])
        page.locator(f"#codes option[value='{first}']").wait_for(state="attached")
        _reloads(page, "fill", "#code", first)
        assert page.locator("#ranking-card").count() == 0
        _reloads(page, "select", "#kind", "day")
        assert page.locator("#step option").all_inner_texts() == ["Hours"]
        _looks_well(visitor, f"staff-usage-meter-day-en-{width}")
        _reloads(page, "click", "[aria-label=Earlier]")
        page.locator("#compared [data-change=before]").wait_for()
        _reloads(page, "fill", "#code", "no such number")
        page.locator(".alert-warning").wait_for()
        _looks_well(visitor, f"staff-usage-missing-en-{width}")
        _reloads(page, "select", "#medium", "heat")
        _looks_well(visitor, f"staff-usage-empty-en-{width}")
        _reloads(page, "select", "#kind", "custom")
        _looks_well(visitor, f"staff-usage-custom-en-{width}")
        visitor.open(f"/meters/{site.estate.meters[0].id}")
        _looks_well(visitor, f"staff-meter-compared-en-{width}")


def test_a_resident_sees_what_changed(browser: Browser, site: Site) -> None:
    with visiting(browser, site, RESIDENT, 390, 844) as visitor:
        visitor.speak("en")
        page = visitor.open("/my/usage?step=month")
        assert page.locator("#compared").count() == 1
        _looks_well(visitor, "resident-usage-compared-en-390")
        page.goto(page.url.replace("/my/usage?step=month", "/usage"))
        assert "/my/usage" in page.url
