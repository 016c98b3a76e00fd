"""Pages of notices in a real browser, wide and narrow: what arrived, what did not and why, and a resident's wishes."""

import psycopg
import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import RESIDENT, STAFF

pytestmark = pytest.mark.browser

_TOLD = """
    INSERT INTO notice (project_id, person_id, kind, dedupe_key, language, subject, paragraphs, link, about, about_id,
                        batch, state, reason, error, attempts, sent_to, ended_at)
    SELECT b.project_id, a.person_id, 'bill', 'bill:' || b.id || ':' || n.state, 'en',
           'Bill for January 2026 · Sunshine Garden, Long Street 17',
           ARRAY['Bill ' || b.number || ' comes to ' || b.total],
           '/my/bills/' || b.id, 'bill', b.id, 'bill-run:' || coalesce(b.run_id, 0), n.state, n.reason, n.error, 1,
           n.sent_to, CASE WHEN n.state IN ('queued', 'failed') THEN NULL ELSE now() END
    FROM (SELECT * FROM bill WHERE state <> 'draft' AND run_id IS NOT NULL AND account_id IN (
              SELECT a.id FROM account a JOIN resident_link l ON l.person_id = a.person_id) ORDER BY id LIMIT 1) AS b
    JOIN account a ON a.id = b.account_id,
         (VALUES ('sent', '', '', 'l***@example.com'), ('queued', '', '', ''), ('suppressed', 'no-address', '', ''),
                 ('failed', 'not-now', '451 4.7.1 come again later', ''),
                 ('given_up', 'refused', '550 5.1.1 <somebody.with.a.long.name@example.com>: no such mailbox', ''))
         AS n (state, reason, error, sent_to)
    ON CONFLICT (project_id, dedupe_key) DO UPDATE SET state = excluded.state, reason = excluded.reason,
        error = excluded.error, ended_at = excluded.ended_at
"""


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"
    assert visitor.crushed() == [], name


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_staff_see_what_arrived_and_send_the_rest_again(browser: Browser, site: Site, width: int, height: int) -> None:
    with psycopg.connect(site.owner_dsn) as conn:
        assert conn.execute(_TOLD).rowcount == 5
    bill_id = site.value("SELECT max(about_id) FROM notice")
    run_id = site.value("SELECT run_id FROM bill WHERE id = %s", bill_id)
    given_up = site.value("SELECT max(id) FROM notice WHERE state = 'given_up'")
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("zh-CN")
        for name, path in (
            ("list", "/notices"),
            ("list-of-run", f"/notices?batch=bill-run:{run_id}&state=given_up"),
            ("show", f"/notices/{given_up}"),
            ("settings", "/notices/settings"),
            ("run", f"/bill-runs/{run_id}"),
            ("bill", f"/bills/{bill_id}"),
            ("runs", "/bill-runs"),
        ):
            visitor.open(path)
            _looks_well(visitor, f"staff-notices-{name}-zh-{width}")
        visitor.speak("en")
        page = visitor.open(f"/notices/{given_up}")
        page.fill("#email", "li.na@example.com")
        visitor.follow(f"form[action='/notices/{given_up}/repetitions'] button")
        page.locator(".alert-success").wait_for()
        assert site.value("SELECT state FROM notice WHERE id = %s", given_up) == "queued"
        _looks_well(visitor, f"staff-notices-again-en-{width}")


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_resident_reads_and_chooses(browser: Browser, site: Site, width: int, height: int) -> None:
    with psycopg.connect(site.owner_dsn) as conn:
        conn.execute(_TOLD)
    with visiting(browser, site, RESIDENT, width, height) as visitor:
        visitor.speak("zh-CN")
        page = visitor.open("/my/notices")
        _looks_well(visitor, f"resident-notices-zh-{width}")
        visitor.follow("#list a")
        _looks_well(visitor, f"resident-notice-zh-{width}")
        visitor.speak("en")
        page = visitor.open("/my/notices")
        page.uncheck("input[value='prepaid.low']")
        page.select_option("#language", "en")
        visitor.follow("form[action='/my/notices'] button")
        page.locator(".alert-success").wait_for()
        assert not page.is_checked("input[value='prepaid.low']")
        assert page.is_checked("input[value='bill']")
        _looks_well(visitor, f"resident-notices-en-{width}")
