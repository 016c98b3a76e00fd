"""Pages of prepaid supply in a real browser, wide and narrow: accounts, a case, settings, and a resident's own."""

import psycopg
import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import RESIDENT, STAFF

pytestmark = pytest.mark.browser

# As the hourly job and a case of some days would leave it: for the first agreement with a meter of the resident.
_PREPAID = """
    WITH mine AS (
        SELECT a.id AS agreement_id, a.project_id, a.account_id
        FROM service_agreement a JOIN account c ON c.id = a.account_id JOIN resident_link l ON l.person_id = c.person_id
        WHERE a.meter_id IS NOT NULL AND a.service = 'electricity' LIMIT 1),
    marked AS (
        INSERT INTO prepaid_agreement (project_id, account_id, agreement_id)
        SELECT project_id, account_id, agreement_id FROM mine),
    policy AS (
        INSERT INTO prepaid_policy (project_id, warn_amount, warn_days, disconnects)
        SELECT project_id, 20, 5, true FROM mine),
    position AS (
        INSERT INTO prepaid_position (account_id, project_id, currency, held, owed, accrued, allowance, days_left,
                                      through, flaw, warned_at, valued_at)
        SELECT account_id, project_id, 'CNY', 120.50, 98.10, 77.35, 20, 0, current_date, 'missing-reading', now(), now()
        FROM mine),
    opened AS (
        INSERT INTO supply_case (project_id, account_id, agreement_id, state, hold, opened_on, opened_at, available,
                                 notified_at, changed_at)
        SELECT project_id, account_id, agreement_id, 'due', 'not-confirmed', current_date - 40,
               now() - interval '40 days', -54.95, now() - interval '8 days', now() FROM mine
        RETURNING id, project_id)
    INSERT INTO supply_step (project_id, case_id, at, step, detail)
    SELECT project_id, id, now() - back, step, detail
    FROM opened, (VALUES ('40 days'::interval, 'opened', '-54.95'), ('8 days', 'notice', 'into his hands'),
                         ('1 day', 'due', '')) AS steps (back, step, detail)
"""


@pytest.fixture(scope="module")
def prepaid(site: Site) -> int:
    """A prepaid account of the resident whose supply may be switched off; the id of the case."""
    with psycopg.connect(site.owner_dsn) as conn:
        conn.execute(_PREPAID)
    return int(str(site.value("SELECT max(id) FROM supply_case")))


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"
    assert visitor.crushed() == [], name


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_staff_look_after_prepaid_accounts(browser: Browser, site: Site, prepaid: int, width: int, height: int) -> None:
    account_id = site.value("SELECT account_id FROM supply_case WHERE id = %s", prepaid)
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        for name, path in (
            ("accounts", "/prepaid"),
            ("account", f"/prepaid/accounts/{account_id}"),
            ("cases", "/supply-cases"),
            ("case", f"/supply-cases/{prepaid}"),
            ("settings", "/prepaid/settings"),
        ):
            visitor.open(path)
            _looks_well(visitor, f"staff-prepaid-{name}-en-{width}")
        page = visitor.open("/prepaid/settings")
        page.fill("input[name='seasons']", "11-15/03-15")
        visitor.follow("form[action='/prepaid/settings'] button")
        page.locator(".alert-success").wait_for()
        assert page.input_value("input[name='seasons']") == "11-15/03-15"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_a_resident_sees_what_is_left(browser: Browser, site: Site, prepaid: int, width: int, height: int) -> None:
    with visiting(browser, site, RESIDENT, width, height) as visitor:
        visitor.speak("en")
        for name, path in (("mine", "/my/prepaid"), ("case", f"/supply-cases/{prepaid}")):
            visitor.open(path)
            _looks_well(visitor, f"resident-prepaid-{name}-en-{width}")
