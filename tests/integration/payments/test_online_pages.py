"""Paying online by hand: the resident's pages until the money is there, and what staff see."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.payments.collecting import Collector
from cloud.payments.reconciliation.taking import Reconciler
from tests.integration.app import People
from tests.integration.browser import Browser, text_of
from tests.integration.payments.owing import FEE, Owing
from tests.integration.payments.providers import Providers, providers, settings
from tests.integration.payments.test_online import owing_world
from tests.worlds import World

__all__ = ["owing_world", "providers", "settings"]


@dataclass
class Counter:
    """A resident, a cashier, and the worker."""

    owing: Owing
    resident: Browser
    staff: Browser
    collector: Collector
    reconciler: Reconciler
    client: httpx.AsyncClient


@pytest.fixture
async def counter(
    owing_world: World[Owing],
    worker_db: Database,
    app_client: httpx.AsyncClient,
    people: People,
    providers: Providers,
) -> AsyncIterator[Counter]:
    """Two bills are open."""
    owing = owing_world.of(worker_db)
    project_id = owing.site.project.id
    auths = [
        await people.resident(project_id, owing.site.flats[0].person_id),
        await people.staff("cashier", project_id),
    ]
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    resident, staff = (Browser(app_client, auth) for auth in auths)
    await resident.see("/my/bills")
    async with providers.channels() as channels:
        workers = Collector(worker_db, channels, providers.now), Reconciler(worker_db, channels, providers.now)
        yield Counter(owing, resident, staff, *workers, app_client)


async def test_from_the_bill_to_its_receipt(counter: Counter, providers: Providers) -> None:
    bill = (await counter.owing.bills())[0]
    page = await counter.resident.see(f"/my/bills/{bill.id}")
    assert 'action="/my/pay"' in page
    assert "Pay by WeChat Pay" in page
    sent = await counter.resident.send("/my/pay", account_id=bill.account_id, bill_ids=str(bill.id), channel="wechat")
    place = sent.headers["location"]
    waiting = await counter.resident.see(place)
    assert "The order is being made" in waiting
    assert 'hx-trigger="every 2s"' in waiting
    await counter.collector.step()
    shown = await counter.resident.see(place)
    assert 'id="code"' in shown
    assert "data:image/png" in shown
    (reference,) = providers.wechat.trades
    await providers.wechat.call_back(counter.client, providers.wechat.pay(reference))
    await counter.collector.step()
    done = await counter.resident.see(place)
    assert "It is paid. Thank you." in done
    assert "every 2s" not in done
    after = await counter.resident.see(f"/my/bills/{bill.id}")
    assert 'action="/my/pay"' not in after
    assert "WeChat Pay" in after
    listed = await counter.staff.see("/online-payments?state=paid&channel=wechat")
    assert listed.count("/my/payments/") == 1
    assert "Nobody has paid online yet" in await counter.staff.see("/online-payments?state=failed")


async def test_all_that_is_open_at_once_and_changing_ones_mind(counter: Counter, providers: Providers) -> None:
    page = await counter.resident.see("/my/pay")
    ids = re.findall(r'name="bill_ids" value="(\d+)"', page)
    assert len(ids) == 2
    sent = await counter.resident.send("/my/pay", account_id=counter.owing.account_id, bill_ids=ids, channel="alipay")
    await counter.collector.step()
    place = sent.headers["location"]
    assert "https://qr.alipay.com/" in await counter.resident.see(place)
    (reference,) = providers.alipay.trades
    providers.alipay.scan(reference)
    await counter.resident.send(f"{place}/cancel")
    assert "It is being cancelled" in await counter.resident.see(place)
    await counter.collector.step()
    assert "Nothing was taken" in await counter.resident.see(place)
    await counter.resident.send("/my/pay", 422, account_id=counter.owing.account_id, channel="alipay")


async def test_a_top_up_on_the_phone(counter: Counter) -> None:
    assert 'id="top-up"' in await counter.resident.see("/my/balance")
    sent = await counter.resident.send(
        "/my/pay?mode=phone", account_id=counter.owing.account_id, amount="100.00", channel="wechat"
    )
    await counter.collector.step()
    page = await counter.resident.see(sent.headers["location"])
    assert "https://wx.tenpay.com/cgi-bin/mmpayweb-bin/checkmweb" in page
    assert "Open WeChat Pay on this phone" in page


async def test_staff_deal_with_money_that_fits_nothing(counter: Counter, providers: Providers) -> None:
    bill = (await counter.owing.bills())[0]
    await counter.resident.send("/my/pay", account_id=bill.account_id, bill_ids=str(bill.id), channel="wechat")
    await counter.collector.step()
    (reference,) = providers.wechat.trades
    headers, body = providers.wechat.callback(providers.wechat.pay(reference), out_trade_no="nobodys")
    await counter.client.post("/api/v1/payment-callbacks/wechat", content=body, headers=headers)
    await counter.collector.step()
    page = await counter.staff.see("/online-payments")
    assert "We have no such order" in page
    (place,) = re.findall(r'action="(/payment-callbacks/\d+/settle)"', page)
    await counter.staff.send(place, note="given back")
    assert "We have no such order" not in await counter.staff.see("/online-payments")


async def test_money_that_came_too_late_is_told_of(counter: Counter, providers: Providers) -> None:
    bill = (await counter.owing.bills())[0]
    sent = await counter.resident.send("/my/pay", account_id=bill.account_id, bill_ids=str(bill.id), channel="wechat")
    place = sent.headers["location"]
    await counter.collector.step()
    (reference,) = providers.wechat.trades
    headers, body = providers.wechat.callback(providers.wechat.pay(reference))
    # The provider tells us when the order is over for us already.
    await counter.owing.site.rows("UPDATE payment_intent SET state = 'expired' RETURNING 1")
    await counter.client.post("/api/v1/payment-callbacks/wechat", content=body, headers=headers)
    await counter.collector.step()
    shown = await counter.resident.see(place)
    assert 'id="aside"' in shown
    assert "Nothing was taken" not in shown
    assert "Try again" not in shown
    (at,) = re.findall(r'action="(/payment-callbacks/\d+/settle)"', await counter.staff.see("/online-payments"))
    await counter.staff.send(at, note="given back")
    shown = await counter.resident.see(place)
    assert "has seen to it" in shown
    assert "Nothing was taken" not in shown


async def test_money_that_was_not_needed_any_more_is_told_of(counter: Counter, providers: Providers) -> None:
    bill = (await counter.owing.bills())[0]
    sent = await counter.resident.send("/my/pay", account_id=bill.account_id, bill_ids=str(bill.id), channel="wechat")
    await counter.collector.step()
    await counter.owing.pay(FEE + 200, datetime.now(UTC).date() - timedelta(days=1))
    (reference,) = providers.wechat.trades
    await providers.wechat.call_back(counter.client, providers.wechat.pay(reference))
    await counter.collector.step()
    shown = await counter.resident.see(sent.headers["location"])
    assert 'id="kept"' in shown
    assert "¥200.00 of it was not needed" in shown


async def test_staff_see_where_providers_and_books_disagree(counter: Counter, providers: Providers) -> None:
    bill = (await counter.owing.bills())[0]
    form: dict[str, Any] = {"account_id": counter.owing.account_id, "channel": "wechat", "bill_ids": bill.id}
    assert "No day yet" in text_of(await counter.staff.see("/provider-differences"))
    await counter.resident.send("/my/pay", **form, once="compared-form-1")
    await counter.collector.step()
    (reference,) = providers.wechat.trades
    trade = providers.wechat.pay(reference)
    await providers.wechat.call_back(counter.client, trade)
    await counter.collector.step()
    trade.total += 100
    providers.ahead = providers.wechat.made_ahead = timedelta(days=5)
    while await counter.reconciler.step():
        pass
    page = text_of(await counter.staff.see("/provider-differences"))
    assert "The provider took another amount" in page
    assert "¥210.33 ¥211.33" in page
    assert "Compared" in page
    (found,) = await counter.owing.site.rows("SELECT id FROM provider_difference")
    await counter.staff.send(f"/provider-differences/{found['id']}/settle", note="a discount of the provider's own")
    assert "No differences" in text_of(await counter.staff.see("/provider-differences"))
    settled = text_of(await counter.staff.see("/provider-differences?state=settled"))
    assert "a discount of the provider's own" in settled


async def test_a_day_that_was_never_compared_stays_on_the_page(counter: Counter) -> None:
    await counter.owing.site.rows(
        """INSERT INTO provider_statement (channel, day, look_at, state, kept_at, failure)
           SELECT 'wechat', date '2026-03-01' + n, now(), CASE n WHEN 0 THEN 'wanted' ELSE 'kept' END,
                  CASE WHEN n > 0 THEN now() END, CASE n WHEN 0 THEN 'statement-unreadable: cut short' END
           FROM generate_series(0, 20) AS n RETURNING id"""
    )
    page = await counter.staff.see("/provider-differences")
    days = re.findall(r'data-label="Day" class="nowrap">([^<]*)<', page)
    assert (days[0], days[1], len(days)) == ("Mar 1, 2026", "Mar 21, 2026", 15)
    assert "It is not whole" in text_of(page)
