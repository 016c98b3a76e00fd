"""Pages of what could not be taken in a real browser: put away, taken back, and nothing is ugly."""

import psycopg
import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser

_OPEN_ALL = "() => document.querySelectorAll('main details').forEach(one => { one.open = true; })"
_LETTERS = """
    INSERT INTO dead_letter (project_id, topic, payload, payload_hash, reason, detail)
    SELECT %s, 'gm/v1/sunshine/gw-1/up/readings', 'x', convert_to(%s || n, 'utf8'), 'bad-schema',
           'expected an array of at least 5 fields, found 3 at $.body[' || n || ']'
    FROM generate_series(1, 3) AS n
"""
_READINGS = """
    INSERT INTO unclaimed_reading (project_id, gateway_code, device_code, channel_code, taken_at, value, quality,
                                   reason)
    SELECT %s, 'gateway-of-the-cellar-1', 'meter-0000123456', 'energy_import_total', now() + n * interval '1 hour', n,
           0, 'clock' FROM generate_series(1, 3) AS n ON CONFLICT DO NOTHING
"""


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.page.evaluate(_OPEN_ALL)
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"
    assert visitor.crushed() == [], name


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_messages_are_discarded_and_taken_back(browser: Browser, site: Site, width: int, height: int) -> None:
    project_id = site.estate.project.id
    with psycopg.connect(site.owner_dsn) as conn:
        conn.execute(_LETTERS, (project_id, str(width)))
        conn.execute(_READINGS, (project_id,))
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/devices")
        page.locator("#unusable").wait_for()
        visitor.picture(f"staff-devices-unusable-en-{width}")
        assert visitor.overflow() == 0
        visitor.open("/devices/unusable")
        _looks_well(visitor, f"staff-unusable-en-{width}")
        visitor.open("/devices/inbox?subject=unclaimed-readings")
        _looks_well(visitor, f"staff-inbox-readings-en-{width}")
        page = visitor.open("/devices/inbox")
        _looks_well(visitor, f"staff-inbox-en-{width}")
        rows = page.locator("#list tbody tr").count()
        assert rows >= 3
        form = page.locator("#list > .card-body form")
        form.locator("[name=because]").fill("of a test")
        visitor.follow(form.locator("[value=discard]"))
        page.locator(".alert-success").wait_for()
        assert page.locator("#list tbody tr").count() == 0
        visitor.open("/devices/inbox/decisions")
        _looks_well(visitor, f"staff-inbox-decisions-en-{width}")
        visitor.follow("form[action$='/undo'] button")
        page.locator(".alert-success").wait_for()
        visitor.open("/devices/inbox")
        assert page.locator("#list tbody tr").count() == rows
