"""What the pages show is what the database holds; money is taken once; strangers and forged links get nothing."""

from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, visiting
from tests.browser.estate import RESIDENT, STAFF, ZONE

pytestmark = pytest.mark.browser

_USED = """
    SELECT coalesce(sum(quantity), 0)::bigint FROM store.usage
    WHERE meter_id = %s AND start >= %s AND start + length_s * interval '1 second' <= %s
"""


def _yuan(amount: object) -> str:
    return f"¥{Decimal(str(amount)):,.2f}"


def test_overview_shows_the_sums_of_the_database(browser: Browser, site: Site) -> None:
    with visiting(browser, site, STAFF) as visitor:
        page = visitor.open("/")
        billed = site.value("SELECT sum(total) FROM bill")
        collected = site.value("SELECT sum(principal) FROM payment_allocation")
        assert page.locator("#money-this .billed").inner_text() == _yuan(billed)
        assert page.locator("#money-this .collected").inner_text() == _yuan(collected)
        devices = site.value("SELECT count(*) FROM device")
        heard = site.value("SELECT count(*) FROM device_state WHERE seen_at > now() - interval '30 minutes'")
        assert f"{heard} / {devices}" in page.locator("#devices-online").inner_text()
        inside = site.value("SELECT count(*) FROM parking_session WHERE state = 'open'")
        assert f"{inside} / 60" in page.locator("[id^=lot-]").inner_text()
        exceptions = page.locator("#exceptions").inner_text()
        for found in ("缴费户出账失败", "无法解析的报文", "未建档设备的读数"):
            assert found in exceptions


def test_total_of_a_month_with_a_gap_is_the_advance_of_the_register(browser: Browser, site: Site) -> None:
    meter = site.estate.meters[0]
    start, end = site.estate.billed.instants(ZoneInfo(ZONE.key))
    used = site.value(_USED, meter.id, start, end)
    with visiting(browser, site, STAFF) as visitor:
        page = visitor.open(f"/meters/{meter.id}?step=day&on={site.estate.gap_day}")
        assert page.locator("#usage-total").inner_text() == f"{Decimal(str(used)) / 1000:,.1f} kWh"
        assert "斜纹" in page.locator("#consumption").inner_text()
        bars = page.request.get(f"{site.url}/meters/{meter.id}/bars?step=day&on={site.estate.gap_day}").json()
        assert bars["gaps"] == [9, 10]
        # The advance over the gap is known: its days have an estimated share of it, and all days add up to the total.
        values = [Decimal(value) for value in bars["series"][0]["values"] if value is not None]
        assert all(bars["series"][0]["values"][day] is not None for day in bars["gaps"])
        assert sum(values) * 1000 == Decimal(str(used))


def test_residents_home_shows_his_bill_line_by_line(browser: Browser, site: Site) -> None:
    account = site.estate.accounts[0]
    with visiting(browser, site, RESIDENT, 390, 844) as visitor:
        page = visitor.open("/home")
        total = site.value("SELECT total FROM bill WHERE account_id = %s", account.id)
        assert page.locator("#bill-total").inner_text() == _yuan(total)
        shown = [Decimal(text.strip("¥").replace(",", "")) for text in page.locator("#lines .amount").all_inner_texts()]
        assert sum(shown) == total
        assert "度到第" in page.locator("#usage-electricity .tier-left").inner_text()
        assert page.locator("#stays .list-group-item").count() == 2


def test_resident_sees_nothing_of_his_neighbour(browser: Browser, site: Site) -> None:
    other = site.value("SELECT id FROM bill WHERE account_id = %s", site.estate.accounts[1].id)
    with visiting(browser, site, RESIDENT) as visitor:
        for path in (f"/my/bills/{other}", f"/meters/{site.estate.meters[2].id}", "/bill-runs", "/audit"):
            assert visitor.page.request.get(f"{site.url}{path}").status in (403, 404)


def test_payment_at_the_counter_is_recorded_once(browser: Browser, site: Site) -> None:
    bill_id = site.value("SELECT id FROM bill WHERE account_id = %s", site.estate.accounts[2].id)
    with visiting(browser, site, STAFF) as visitor:
        page = visitor.open(f"/bills/{bill_id}")
        form = page.locator("form[action$='/payments']")
        fields = {name: form.locator(f"[name={name}]").input_value() for name in ("once", "amount", "method")}
        token = form.locator("[name=csrf_token]").input_value()
        for _ in range(2):
            answer = page.request.post(f"{site.url}/bills/{bill_id}/payments", form={**fields, "csrf_token": token})
            assert answer.status == 200
        page = visitor.open(f"/bills/{bill_id}")
        assert page.locator("#open").inner_text() == "¥0.00"
        paid = site.value("SELECT count(*) FROM payment_allocation WHERE bill_id = %s", bill_id)
        assert paid == 1


def test_payment_at_the_exit_opens_the_barrier(browser: Browser, site: Site) -> None:
    with visiting(browser, site, STAFF) as visitor:
        page = visitor.open("/parking")
        assert "¥15.00" in page.locator("#waiting").inner_text()
        visitor.follow("#waiting form[action$='/pay'] button")
        page.locator(".alert-success").wait_for()
        assert "开闸" in page.locator(".alert-success").inner_text()
        opened = site.value("SELECT count(*) FROM command WHERE action = 'open-barrier' AND reason = 'paid'")
        assert opened == 1


def test_pages_are_dark_when_the_readers_system_is(browser: Browser, site: Site) -> None:
    with visiting(browser, site, STAFF, dark=True) as visitor:
        page = visitor.open("/")
        visitor.picture("staff-overview-dark")
        # Painted on a canvas, because the colour may be written in any colour space.
        red, green, blue = page.evaluate(
            """() => {
                const brush = document.createElement("canvas").getContext("2d");
                brush.fillStyle = getComputedStyle(document.body).backgroundColor;
                brush.fillRect(0, 0, 1, 1);
                return [...brush.getImageData(0, 0, 1, 1).data].slice(0, 3);
            }"""
        )
        assert max(red, green, blue) < 80
