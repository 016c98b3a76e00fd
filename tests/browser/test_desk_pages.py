"""The guard's desk in a real browser, by the keyboard alone: choose a lane, correct, open, take cash; and live."""

from collections.abc import Callable

import psycopg
import pytest
from playwright.sync_api import Browser, Page, Route

from tests.browser.conftest import Site, visiting
from tests.browser.estate import STAFF, WAITING_PLATE

pytestmark = pytest.mark.browser

_SIZES = pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])


def _focused(page: Page) -> str:
    """What has the focus: the id of a lane, the name of a field, or what is written on it."""
    return str(
        page.evaluate("document.activeElement.id || document.activeElement.name || document.activeElement.innerText")
    )


def _chosen_out(page: Page) -> None:
    """Chooses the exit by its number."""
    number = page.locator("[data-lane]", has_text="南门出口").get_attribute("data-lane")
    assert number is not None
    page.keyboard.press(number)


@_SIZES
def test_a_guard_needs_no_mouse(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/parking/desk")
        page.locator("[data-desk-state].bg-green-lt").wait_for()
        visitor.picture(f"staff-desk-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])

        assert not page.locator("#desk-keys").is_visible()
        page.keyboard.press("?")
        page.locator("#desk-keys[open]").wait_for()
        visitor.picture(f"staff-desk-keys-en-{width}")
        page.keyboard.press("Escape")

        _chosen_out(page)
        assert page.locator(".desk-chosen").inner_text().find(WAITING_PLATE) >= 0
        page.keyboard.press("o")
        page.locator("#panel form").wait_for()
        visitor.picture(f"staff-desk-open-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])
        page.keyboard.press("8")
        assert _focused(page) == "reason"
        page.keyboard.type("parade 1")
        page.keyboard.press("Escape")
        page.locator("#panel form").wait_for(state="detached")
        assert _focused(page).startswith("lane-")
        page.keyboard.press("o")
        page.locator("#panel form").wait_for()
        page.keyboard.press("2")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        page.locator(".alert-success").wait_for()
        assert site.value("SELECT code FROM manual_opening ORDER BY id DESC LIMIT 1") == "barrier-fault"
        assert _focused(page).startswith("lane-")

        page.keyboard.press("p")
        page.locator("#plate").wait_for()
        assert _focused(page) == "plate"
        visitor.picture(f"staff-desk-plate-en-{width}")
        page.keyboard.press("Escape")

        page.keyboard.press("c")
        page.locator("#amount").wait_for()
        visitor.picture(f"staff-desk-cash-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])
        amount = page.locator("#amount").inner_text()
        assert amount in _focused(page) or page.locator("[data-confirm]").inner_text().find(amount) >= 0
        page.keyboard.press("Escape")

        page.keyboard.press("n")
        page.wait_for_url("**/parking/passages/**")


@_SIZES
def test_a_vehicle_appears_by_itself_and_the_guard_stays_where_he_is(
    browser: Browser, site: Site, width: int, height: int
) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/parking/desk")
        page.locator("[data-desk-state].bg-green-lt").wait_for()
        _chosen_out(page)
        chosen = _focused(page)
        with psycopg.connect(site.owner_dsn) as conn:
            conn.execute("UPDATE passage SET decision = 'cloud-silent' WHERE outcome = 'arrived'")
        page.locator(f"#{chosen}", has_text="The cloud did not answer").wait_for()
        assert _focused(page) == chosen
        assert page.locator(".desk-chosen").get_attribute("id") == chosen

        assert visitor.complaints == []
        page.context.set_offline(True)
        page.evaluate("htmx.trigger('#board', 'lanes-changed')")
        page.locator("[data-desk-state].bg-red-lt", has_text="connection lost since").wait_for()
        with psycopg.connect(site.owner_dsn) as conn:
            conn.execute("UPDATE passage SET decision = 'await-cloud' WHERE outcome = 'arrived'")
        page.context.set_offline(False)
        page.locator("[data-desk-state].bg-green-lt").wait_for()
        page.locator(f"#{chosen}", has_text="The cloud decides").wait_for()
        visitor.complaints.clear()


@_SIZES
def test_a_shift_from_its_beginning_to_the_handover(browser: Browser, site: Site, width: int, height: int) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/parking/shifts")
        page.fill("#desk", f"South gate {width}")
        with page.expect_navigation():
            page.keyboard.press("Enter")
        page.locator(".alert-success").wait_for()
        visitor.follow("a:has-text('Shift since')")
        visitor.picture(f"staff-shift-open-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])
        page.fill("[name=counted-cash]", "1234.50")
        page.fill("#note", "found in the drawer")
        visitor.follow("button:has-text('Hand over')")
        page.locator(".alert-success").wait_for()
        visitor.picture(f"staff-shift-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])
        visitor.open("/parking/shifts")
        visitor.picture(f"staff-shifts-en-{width}")
        assert (visitor.overflow(), visitor.crushed()) == (0, [])


def _held_in(held: list[Route]) -> Callable[[Route], None]:
    """Answers nothing; Playwright takes no method of a list."""

    def hold(route: Route) -> None:
        held.append(route)

    return hold


def test_a_refresh_that_nothing_answers_is_a_lost_connection(browser: Browser, site: Site) -> None:
    """A network that dies without a word ends no request: the guard would look at old lanes for minutes."""
    with visiting(browser, site, STAFF, 1280, 800) as visitor:
        page = visitor.open("/parking/desk")
        page.locator("[data-desk-state].bg-green-lt").wait_for()
        held: list[Route] = []
        for address in ("**/parking/desk", "**/live/parking-lanes**"):
            page.route(address, _held_in(held))
        page.evaluate("htmx.trigger('#board', 'lanes-changed')")
        page.locator("[data-desk-state].bg-red-lt").wait_for(timeout=60_000)
        assert held
        visitor.complaints.clear()


def test_a_late_answer_puts_no_form_of_another_lane_beside_the_lanes(browser: Browser, site: Site) -> None:
    """Who asked for one lane and then for another, or left, would open the barrier of the first."""
    with visiting(browser, site, STAFF, 1280, 800) as visitor:
        visitor.speak("en")
        page = visitor.open("/parking/desk")
        page.locator("[data-desk-state].bg-green-lt").wait_for()
        held: list[Route] = []
        _chosen_out(page)
        first = str(page.locator(".desk-chosen [data-key=o]").get_attribute("href"))
        page.route(f"**{first}", _held_in(held))
        with page.expect_request(f"**{first}"):
            page.keyboard.press("o")
        page.keyboard.press("c")
        page.locator("#amount").wait_for()
        with page.expect_response(f"**{first}"):
            held[0].continue_()
        assert page.locator("#amount").is_visible()
        page.keyboard.press("Escape")
        with page.expect_request(f"**{first}"):
            page.keyboard.press("o")
        page.keyboard.press("Escape")
        with page.expect_response(f"**{first}"):
            held[1].continue_()
        assert page.locator("#panel form").count() == 0
        assert _focused(page).startswith("lane-")


def test_a_form_that_nothing_answers_is_a_lost_connection_and_the_lanes_stay(browser: Browser, site: Site) -> None:
    with visiting(browser, site, STAFF, 1280, 800) as visitor:
        page = visitor.open("/parking/desk")
        page.locator("[data-desk-state].bg-green-lt").wait_for()
        held: list[Route] = []
        _chosen_out(page)
        address = str(page.locator(".desk-chosen [data-key=o]").get_attribute("href"))
        for one in (f"**{address}", "**/live/parking-lanes**"):
            page.route(one, _held_in(held))
        page.keyboard.press("o")
        page.locator("[data-desk-state].bg-red-lt").wait_for(timeout=60_000)
        assert page.locator(".desk-chosen").count() == 1
        visitor.complaints.clear()
