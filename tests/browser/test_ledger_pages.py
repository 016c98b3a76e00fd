"""Pages of the ledger in a real browser, wide and narrow: filters, a closed month, a file of vouchers."""

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"
    assert visitor.crushed() == [], name


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
def test_an_accountant_looks_at_the_ledger(browser: Browser, site: Site, width: int, height: int) -> None:
    account_id = site.value("SELECT min(account_id) FROM posting WHERE ledger_account = 'receivable'")
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("zh-CN")
        for name, path in (
            ("balance", "/ledger"),
            ("receivables", "/ledger/receivables?as_of=2099-01-01"),
            ("statement", f"/ledger/statements/{account_id}"),
            ("accounts", "/ledger/accounts"),
        ):
            visitor.open(path)
            _looks_well(visitor, f"staff-ledger-{name}-zh-{width}")
        visitor.speak("en")
        page = visitor.open("/ledger/proofs")
        visitor.follow("form[action='/ledger/proofs'] button")
        page.locator(".alert-success").wait_for()
        _looks_well(visitor, f"staff-ledger-proofs-en-{width}")
        page = visitor.open("/ledger/vouchers")
        page.fill("input[name='month']", str(site.value("SELECT to_char(max(booked_on), 'YYYY-MM') FROM journal")))
        page.select_option("select[name='layout']", "k3.xlsx")
        visitor.follow("form[action='/ledger/vouchers'] button")
        page.locator(".alert-success").wait_for()
        _looks_well(visitor, f"staff-ledger-vouchers-en-{width}")
        with page.expect_download() as download:
            page.click("a[href$='/file'] >> nth=0")
        assert download.value.suggested_filename.endswith("-k3.xlsx")
        page = visitor.open("/ledger/months")
        visitor.follow("form[action='/ledger/months'] button")
        page.locator(".alert-success").wait_for()
        _looks_well(visitor, f"staff-ledger-months-en-{width}")
        page.fill("input[name='reason']", "The next window closes it too")
        visitor.follow("form[action$='/reopen'] button")
        page.locator(".alert-success").wait_for()
        assert page.get_by_text("The next window closes it too").count() >= 1
