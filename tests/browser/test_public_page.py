"""The page where a driver pays by plate, as he has it: on a phone, not signed in, in his language, by keys."""

import psycopg
import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, visiting
from tests.browser.estate import STAFF, WAITING_PLATE

pytestmark = pytest.mark.browser

CODE = "parkhere42"


@pytest.fixture
def address(site: Site) -> str:
    """Where the sign leads."""
    with psycopg.connect(site.owner_dsn) as conn:
        conn.execute(
            """INSERT INTO parking_money_policy (project_id, public_code) SELECT project_id, %s FROM parking_lot LIMIT 1
               ON CONFLICT (project_id) DO UPDATE SET public_code = excluded.public_code""",
            (CODE,),
        )
    return f"/park/{CODE}"


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
@pytest.mark.parametrize(
    ("language", "nothing", "pay"),
    [("zh-CN", "无需缴费", "停车缴费"), ("en", "There is nothing to pay", "Pay for parking")],
    ids=["zh", "en"],
)
def test_a_driver_types_his_plate_and_reads_what_he_owes(
    browser: Browser, site: Site, address: str, width: int, height: int, language: str, nothing: str, pay: str
) -> None:
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.page.context.clear_cookies()
        page = visitor.open(address)
        if language == "en":
            visitor.switch_language(language)
        assert pay in page.locator("h1").inner_text()
        for plate, due in ((WAITING_PLATE, True), ("粤Z00000", False)):
            field = page.locator("#plate")
            if not field.evaluate("field => field === document.activeElement"):
                field.focus()
            field.fill("")
            page.keyboard.type(plate)
            with page.expect_navigation():
                page.keyboard.press("Enter")
            page.locator("#due").wait_for()
            said = page.locator("#due").inner_text()
            assert ("¥" in said) is due
            assert (nothing in said) is not due
            assert (visitor.overflow(), visitor.crushed()) == (0, [])
            visitor.picture(f"public-{'due' if due else 'nothing'}-{language}-{width}")
        whole = page.content()
        for secret in ("地面停车场", "南门", "/parking/"):
            assert secret not in whole
