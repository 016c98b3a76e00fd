"""Every page of staff and residents in a real browser."""

from collections.abc import Mapping, Sequence

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Size, Visitor, visiting
from tests.browser.estate import RESIDENT, STAFF

pytestmark = pytest.mark.browser

DESKTOP: Size = (1280, 800)
PHONE: Size = (390, 844)


@pytest.mark.parametrize(("tag", "sizes"), [("zh-CN", (PHONE, DESKTOP)), ("en", (DESKTOP, PHONE))], ids=["zh-CN", "en"])
def test_every_page_of_staff_renders_without_complaint(
    browser: Browser, site: Site, tag: str, sizes: Sequence[Size]
) -> None:
    estate = site.estate
    bill_id = site.value("SELECT min(id) FROM bill")
    gateway_id = site.value("SELECT id FROM gateway WHERE code = 'gw-1'")
    run_id = site.value("SELECT max(id) FROM bill_run")
    lot_id = site.value("SELECT min(id) FROM parking_lot")
    passage_id = site.value("SELECT id FROM passage WHERE incident = 'exit-without-entry'")
    space_id = site.value("SELECT min(id) FROM parking_space")
    pages = {
        "overview": "/",
        "meters": "/meters",
        "meter": f"/meters/{estate.meters[0].id}?step=day&on={estate.gap_day}",
        "meter-hours": f"/meters/{estate.meters[0].id}?step=hour&on={estate.gap_day}",
        "meter-months": f"/meters/{estate.meters[0].id}?step=month",
        "bills": "/bills",
        "bill": f"/bills/{bill_id}",
        "bill-runs": "/bill-runs",
        "bill-run": f"/bill-runs/{run_id}",
        "parking": "/parking",
        "desk": "/parking/desk",
        "shifts": "/parking/shifts",
        "session": f"/parking/sessions/{estate.waiting_session}",
        "unpaid-stays": "/parking/debts",
        "parking-money": "/parking/money",
        "visitor-passes": "/visitor-passes",
        "vehicle-requests": "/vehicle-requests",
        "refunds": "/payment-refunds",
        "incidents": "/parking/incidents",
        "passage": f"/parking/passages/{passage_id}",
        "set-aside": "/parking/set-aside",
        "lot-policy": f"/parking/lots/{lot_id}/policy",
        "car-parks": "/parking-lots",
        "car-park": f"/parking-lots/{lot_id}",
        "spaces": f"/parking-lots/{lot_id}/spaces",
        "space": f"/parking-spaces/{space_id}",
        "lists": "/parking-lists?over=true",
        "vehicles": "/vehicles",
        "devices": "/devices",
        "orders": "/devices/orders",
        "configurations": f"/devices/gateways/{gateway_id}/configurations",
        "configuration": f"/devices/gateways/{gateway_id}/configurations?number=1",
        "units": "/estate/units",
        "unit": f"/estate/units/{estate.accounts[0].unit_id}",
        "move-in": f"/estate/units/{estate.accounts[0].unit_id}/move-in?name=a",
        "moves": "/estate/moves",
        "people": "/estate/people",
        "person": f"/estate/people/{estate.accounts[0].person_id}",
        "exceptions": "/exceptions",
        "exceptions-gaps": "/exceptions?kind=gaps",
        "exceptions-jobs": "/exceptions?kind=jobs",
        "findings": "/meter-exceptions?state=",
        "finding": f"/meter-exceptions/{site.finding(estate.meters[0].id)}",
        "edits": f"/meters/{estate.meters[0].id}/edits",
        "all-edits": "/reading-edits",
        "readings": f"/meters/{estate.meters[0].id}/readings",
        "thresholds": f"/meters/{estate.meters[0].id}/thresholds",
        "class-thresholds": "/thresholds",
        "thresholds-of-class": "/thresholds/water-residential",
        "audit": "/audit",
    }
    with visiting(browser, site, STAFF) as visitor:
        visitor.speak(tag)
        _look_at(visitor, pages, sizes, f"staff-{{name}}-{tag}")


@pytest.mark.parametrize(("tag", "sizes"), [("zh-CN", (PHONE, DESKTOP)), ("en", (DESKTOP, PHONE))], ids=["zh-CN", "en"])
def test_every_page_of_residents_renders_without_complaint(
    browser: Browser, site: Site, tag: str, sizes: Sequence[Size]
) -> None:
    bill_id = site.value("SELECT id FROM bill WHERE account_id = %s", site.estate.accounts[0].id)
    pages = {
        "home": "/home",
        "usage": "/my/usage",
        "bills": "/my/bills",
        "bill": f"/my/bills/{bill_id}",
        "stays": "/my/stays",
        "vehicles": "/my/vehicles",
        "visitor-passes": "/visitor-passes",
    }
    with visiting(browser, site, RESIDENT) as visitor:
        visitor.speak(tag)
        _look_at(visitor, pages, sizes, f"resident-{{name}}-{tag}")


def _look_at(visitor: Visitor, pages: Mapping[str, str], sizes: Sequence[Size], picture: str) -> None:
    """Each page is loaded once, in the first of the sizes, and then looked at in every one."""
    for name, path in pages.items():
        visitor.resize(sizes[0])
        page = visitor.open(path)
        for size in sizes:
            visitor.resize(size)
            visitor.picture(f"{picture.format(name=name)}-{size[0]}")
            assert page.locator("main").inner_text().strip(), name
            assert visitor.overflow() == 0, f"{name} is wider than a window of {size}"
            assert visitor.crushed() == [], (name, size)


@pytest.mark.parametrize("tag", ["zh-CN", "en"])
def test_orders_fit_a_phone_and_what_cuts_a_supply_stands_apart(browser: Browser, site: Site, tag: str) -> None:
    with visiting(browser, site, STAFF, 390, 844) as visitor:
        visitor.speak(tag)
        row = visitor.open("/devices").locator("tr", has_text="e-101 ")
        row.locator("summary").click()
        visitor.picture(f"staff-order-open-{tag}-390")
        assert visitor.overflow() == 0
        assert visitor.crushed() == []
        boxes = [button.bounding_box() for button in row.locator("form button").all()]
        others = [box["y"] + box["height"] for box in boxes[:-1] if box is not None]
        cuts = boxes[-1]
        assert cuts is not None
        assert row.locator("form button").last.get_attribute("value") == "switch-off"
        assert cuts["y"] - max(others) >= 8, "room enough that no thumb cuts a supply"


def test_a_supply_is_cut_only_after_a_second_question(browser: Browser, site: Site) -> None:
    before = site.value("SELECT count(*) FROM command")
    with visiting(browser, site, STAFF) as visitor:
        visitor.speak("en")
        page = visitor.open("/devices")
        row = page.locator("tr", has_text="e-101 ")
        row.get_by_text("Order").click()
        row.get_by_placeholder("Reason").fill("rewiring")
        visitor.picture("staff-order-open")
        visitor.follow(row.get_by_role("button", name="Switch off"))
        assert "This cuts the supply" in page.locator("main").inner_text()
        visitor.picture("staff-order-sure")
        assert site.value("SELECT count(*) FROM command") == before
        visitor.follow(page.get_by_role("button", name="Switch off"))
        assert "Waiting to be sent" in page.locator("#orders").inner_text()
    assert site.value("SELECT action FROM command WHERE reason = 'rewiring'") == "switch-off"


def test_one_signs_in_and_chooses_a_language(browser: Browser, site: Site) -> None:
    with visiting(browser, site, STAFF, 390, 844) as visitor:
        visitor.page.context.clear_cookies()
        visitor.sign_in()
        for tag, said in (("en", "Sign out"), ("zh-CN", "退出")):
            visitor.switch_language(tag)
            assert said in (visitor.page.text_content("body") or "")
