"""Agreements of every kind and concessions in a real browser: made, approved, ended, on a phone as well."""

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import STAFF
from tests.browser.test_meter_pages import _looks_well

pytestmark = pytest.mark.browser


def _fill(visitor: Visitor, button: str, **values: str) -> None:
    for name, value in values.items():
        place = visitor.page.locator(f"[name={name}]")
        if place.evaluate("e => e.tagName") == "SELECT":
            place.select_option(value)
        else:
            place.fill(value)
    visitor.follow(visitor.page.get_by_role("button", name=button, exact=True))


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_lease_its_concession_and_a_charge(browser: Browser, site: Site, width: int, height: int) -> None:
    number = site.value("SELECT min(number) FROM account")
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/agreements")
        _looks_well(visitor, f"staff-agreements-en-{width}")
        page = visitor.open(f"/agreements/new?kind=rent&account={number}")
        _looks_well(visitor, f"staff-rent-new-en-{width}")
        lease = {"amount": "8000", "valid_from": "2030-01-01", "per_months": "1", "every_months": "3", "percent": "5"}
        _fill(visitor, "Agree", **lease)
        page.locator(".alert-danger").wait_for()
        assert "end of the lease" in page.locator(".alert-danger").inner_text()
        assert page.locator("[name=amount]").input_value() == "8000"
        visitor.complaints.clear()  # the browser reports the status of a page that says what is wrong
        _fill(visitor, "Agree", valid_until="2033-01-01")
        page.locator(".alert-success").wait_for()
        assert "9,261" not in page.locator("table").inner_text()
        assert "8,820.00" in page.locator("table").inner_text()
        _looks_well(visitor, f"staff-rent-en-{width}")

        visitor.follow(page.get_by_role("link", name="File a concession"))
        concession = {"name": "Five years", "rule": "long_lease", "kind": "amount", "value": "200", "reason": "lease 4"}
        _fill(visitor, "File", **concession)
        page.locator(".alert-success").wait_for()
        assert "Waits for approval" in page.inner_text("body")
        assert "somebody else has to approve it" in page.locator("#own").inner_text()
        _looks_well(visitor, f"staff-concession-own-en-{width}")
        site.value("UPDATE concession SET created_by = NULL WHERE approved_at IS NULL RETURNING id")
        page.reload()
        _fill(visitor, "Approve", reason="signed")
        page.locator(".alert-success").wait_for()
        _looks_well(visitor, f"staff-concession-en-{width}")
        visitor.open("/concessions")
        _looks_well(visitor, f"staff-concessions-en-{width}")

        visitor.open(f"/agreements/new?kind=one_off&account={number}")
        _fill(visitor, "Agree", category="maintenance", amount="120.50", description="New lock", day="2030-01-01")
        page.locator(".alert-success").wait_for()
        visitor.follow(page.get_by_role("link", name="Copy"))
        assert page.locator("[name=description]").input_value() == "New lock"
        visitor.open(f"/agreements?account={number}&kind=one_off")
        visitor.follow(page.get_by_role("link", name="Maintenance"))
        visitor.follow(page.get_by_role("button", name="Take it back"))
        page.locator(".alert-success").wait_for()
        visitor.open("/agreements/new")
        _looks_well(visitor, f"staff-agreement-new-en-{width}")
        visitor.open("/concessions/new")
        _looks_well(visitor, f"staff-concession-new-en-{width}")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_package_is_sold_and_agreed_otherwise(browser: Browser, site: Site, width: int, height: int) -> None:
    number = site.value("SELECT min(a.number) FROM account a JOIN unit u ON u.id = a.unit_id")
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open(f"/agreements/new?kind=package&account={number}")
        package = {"name": "All-in shop", "contains": "property, water", "amount": "300", "valid_from": "2031-01-01"}
        _fill(visitor, "Agree", **package, valid_until="2032-01-01", tax_percent="6")
        page.locator(".alert-success").wait_for()
        page.fill("#f-rent-day", "2031-07-01")
        page.fill("#f-rent-amount", "320")
        visitor.follow(page.get_by_role("button", name="Change the amount"))
        page.locator(".alert-success").wait_for()
        page.fill("#f-tax-day", "2031-07-01")
        page.fill("#f-tax-percent", "9")
        visitor.follow(page.get_by_role("button", name="Change the tax"))
        page.locator(".alert-success").wait_for()
        shown = page.inner_text("body")
        assert "All-in shop" in shown
        assert "320.00" in shown
        assert "9 % on top" in shown
        _looks_well(visitor, f"staff-package-en-{width}")
        visitor.follow(page.get_by_role("link", name="Copy"))
        assert page.locator("[name=contains]").input_value() == "property, water"
        _looks_well(visitor, f"staff-package-new-en-{width}")

        visitor.open(f"/agreements/new?kind=rent&account={number}")
        page.locator("[name=per_area]").check()
        _fill(visitor, "Agree", amount="80", valid_from="2031-01-01")
        page.locator(".alert-success").wait_for()
        page.fill("#f-area-day", f"2031-02-{width % 28 + 1:02}")
        page.fill("#f-area", "91.5")
        page.fill("#f-area-reason", "measured again")
        visitor.follow(page.get_by_role("button", name="File the area"))
        page.locator(".alert-success").wait_for()
        assert "91.5 m²" in page.inner_text("body")
        _looks_well(visitor, f"staff-rent-by-area-en-{width}")

        visitor.open(f"/agreements/new?kind=one_off&account={number}")
        _fill(visitor, "Agree", category="cleaning", amount="50", description="Windows", day="2031-01-01")
        page.locator(".alert-success").wait_for()
        _fill(visitor, "Give the charge back", reason="not ordered")
        page.locator(".alert-success").wait_for()
        assert "taken back" in page.inner_text("body")
        _looks_well(visitor, f"staff-one-off-en-{width}")
