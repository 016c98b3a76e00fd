"""Paying by a provider, from the resident's wish to the ledger: against peers that verify and sign as the real ones."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from cloud.billing.service import Policy
from cloud.kit.db import SYSTEM, Database
from cloud.payments.collecting import Collector
from cloud.payments.reconciliation.taking import Reconciler
from simulators.payments.wechat import WechatPeer
from tests.integration.app import Auth, People, once
from tests.integration.payments.owing import FEE, RULE, Owing, make_owing
from tests.integration.payments.providers import API_V3_KEY, Providers, providers, rsa_key, settings
from tests.worlds import World, world

__all__ = ["providers", "settings"]


@dataclass
class Desk:
    """What a resident, the worker and the providers do, in one line each."""

    owing: Owing
    client: httpx.AsyncClient
    collector: Collector
    reconciler: Reconciler
    providers: Providers
    resident: Auth
    staff: Auth

    async def ask(self, status: int = 201, who: Auth | None = None, **body: Any) -> dict[str, Any]:
        """Asks to pay the first bill by WeChat, unless `body` says otherwise."""
        if "amount" not in body and "bill_ids" not in body:
            body["bill_ids"] = [(await self.owing.bills())[0].id]
        wanted = {"account_id": self.owing.account_id, "channel": "wechat"} | body
        headers = (who or self.resident) | once()
        answer = await self.client.post("/api/v1/payment-intents", json=wanted, headers=headers)
        assert answer.status_code == status, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def see(self, intent: dict[str, Any]) -> dict[str, Any]:
        """What the resident sees of it."""
        answer = await self.client.get(f"/api/v1/payment-intents/{intent['id']}", headers=self.resident)
        assert answer.status_code == 200
        found: dict[str, Any] = answer.json()
        return found

    async def placed(self, **body: Any) -> dict[str, Any]:
        """An intent whose order the provider has."""
        intent = await self.ask(**body)
        await self.collector.step()
        return await self.see(intent)

    async def cancel(self, intent: dict[str, Any], status: int = 201) -> None:
        """The resident changes his mind."""
        path = f"/api/v1/payment-intents/{intent['id']}/cancellations"
        assert (await self.client.post(path, headers=self.resident | once())).status_code == status

    async def later(self, **passed: float) -> None:
        """Time passes on our side, and the worker looks."""
        self.providers.ahead += timedelta(**passed)
        await self.collector.step()

    async def aside(self) -> list[dict[str, Any]]:
        """What staff are shown of money that fits nothing."""
        answer = await self.client.get("/api/v1/payment-callbacks?state=aside", headers=self.staff)
        return [dict(one) for one in answer.json()["items"]]

    async def payments(self) -> list[dict[str, Any]]:
        """What was booked."""
        return await self.owing.site.rows("SELECT method, amount, reference, purpose FROM payment ORDER BY id")


@world
async def owing_world(db: Database) -> Owing:
    """Two months are owed, due long ago; no late fees, so that amounts do not depend on today."""
    return await make_owing(db, Policy(due_days=15))


@pytest.fixture
async def desk(
    owing_world: World[Owing],
    worker_db: Database,
    app_client: httpx.AsyncClient,
    people: People,
    providers: Providers,
) -> AsyncIterator[Desk]:
    """A resident and staff of it."""
    owing = owing_world.of(worker_db)
    resident = await people.resident(owing.site.project.id, owing.site.flats[0].person_id)
    staff = await people.staff("cashier", owing.site.project.id)
    async with providers.channels() as channels:
        workers = Collector(worker_db, channels, providers.now), Reconciler(worker_db, channels, providers.now)
        yield Desk(owing, app_client, *workers, providers, resident, staff)


async def test_a_bill_is_paid_by_wechat_once_however_often_we_are_told(desk: Desk) -> None:
    intent = await desk.ask()
    assert (intent["state"], intent["amount"]["amount"], intent["pay_at"]) == ("created", "210.33", None)
    await desk.collector.step()
    intent = await desk.see(intent)
    assert intent["state"] == "pending"
    assert intent["pay_at"].startswith("weixin://wxpay/bizpayurl?pr=")
    assert intent["bills"][0]["principal"]["amount"] == "210.33"
    trade = desk.providers.wechat.pay(intent["reference"])
    for event_id in ("EV-1", "EV-1", "EV-2"):
        assert await desk.providers.wechat.call_back(desk.client, trade, event_id) == 200
    await desk.collector.step()
    intent = await desk.see(intent)
    assert (intent["state"], intent["provider_id"]) == ("paid", trade.transaction_id)
    assert [bill.state for bill in await desk.owing.bills()] == ["paid", "issued"]
    assert await desk.payments() == [
        {"method": "wechat", "amount": FEE, "reference": trade.transaction_id, "purpose": "bill"}
    ]
    states = await desk.owing.site.rows("SELECT event_id, state FROM payment_callback ORDER BY id")
    assert [(one["event_id"], one["state"]) for one in states] == [("EV-1", "used"), ("EV-2", "repeated")]
    assert await desk.owing.site.proof() == []
    await desk.cancel(intent, status=409)


async def test_several_bills_by_alipay_and_a_top_up(desk: Desk) -> None:
    bills = [bill.id for bill in await desk.owing.bills()]
    intent = await desk.placed(channel="alipay", bill_ids=bills)
    assert intent["pay_at"].startswith("https://qr.alipay.com/")
    assert intent["amount"]["amount"] == "420.66"
    trade = desk.providers.alipay.pay(intent["reference"])
    assert await desk.providers.alipay.call_back(desk.client, trade) == "success"
    await desk.collector.step()
    assert [bill.state for bill in await desk.owing.bills()] == ["paid", "paid"]
    top_up = await desk.placed(channel="alipay", amount="50.00")
    await desk.providers.alipay.call_back(desk.client, desk.providers.alipay.pay(top_up["reference"]))
    await desk.collector.step()
    assert await desk.owing.held() == Decimal(50)
    assert [one["purpose"] for one in await desk.payments()] == ["bill", "balance"]
    assert await desk.owing.site.proof() == []


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
async def test_a_lost_callback_loses_no_money(desk: Desk, channel: str) -> None:
    intent = await desk.placed(channel=channel)
    peer = desk.providers.wechat if channel == "wechat" else desk.providers.alipay
    await desk.later(seconds=10)
    assert (await desk.see(intent))["state"] == "pending"
    trade = peer.pay(intent["reference"])
    await desk.later(seconds=60)
    assert (await desk.see(intent))["state"] == "paid"
    # What was lost comes after all.
    await peer.call_back(desk.client, trade)  # type: ignore[arg-type]  # each peer its own trade
    await desk.collector.step()
    assert len(await desk.payments()) == 1
    assert await desk.owing.site.proof() == []


async def test_what_is_late_for_its_bill_is_held(desk: Desk) -> None:
    """Somebody else paid the bills at the counter meanwhile."""
    intent = await desk.placed()
    await desk.owing.pay(FEE * 2, datetime.now(UTC).date() - timedelta(days=1))
    await desk.providers.wechat.call_back(desk.client, desk.providers.wechat.pay(intent["reference"]))
    await desk.collector.step()
    assert (await desk.see(intent))["state"] == "paid"
    assert await desk.owing.held() == FEE
    assert await desk.owing.site.proof() == []


async def test_money_that_fits_no_order_is_kept_aside_and_shown(desk: Desk) -> None:
    wechat = desk.providers.wechat
    intent = await desk.placed()
    trade = wechat.pay(intent["reference"])

    async def told(**changed: Any) -> None:
        headers, body = wechat.callback(trade, **changed)
        answer = await desk.client.post("/api/v1/payment-callbacks/wechat", content=body, headers=headers)
        assert answer.status_code == 200
        await desk.collector.step()

    await told(amount={"total": 21034, "currency": "CNY"})
    await told(amount={"total": 21033, "currency": "HKD"})
    await told(out_trade_no="somebodyelses")
    assert (await desk.see(intent))["state"] == "pending"
    await told()
    await told(transaction_id="4200000000000000000000000002")
    other = await desk.placed(amount="9.00")
    await desk.cancel(other)
    await desk.later(seconds=60)
    assert (await desk.see(other))["state"] == "cancelled"
    await told(out_trade_no=other["reference"], transaction_id="42x", amount={"total": 900, "currency": "CNY"})
    aside = await desk.aside()
    assert [one["reason"] for one in reversed(aside)] == [
        "amount-differs", "amount-differs", "unknown-order", "paid-already", "order-over",
    ]  # fmt: skip
    assert len(await desk.payments()) == 1
    done = await desk.client.post(
        f"/api/v1/payment-callbacks/{aside[0]['id']}/settlements",
        json={"note": "given back"},
        headers=desk.staff | once(),
    )
    assert (done.status_code, done.json()["state"], done.json()["note"]) == (201, "settled", "given back")
    assert len(await desk.aside()) == 4
    # A resident sees nothing of it.
    hidden = await desk.client.get("/api/v1/payment-callbacks", headers=desk.resident)
    assert hidden.status_code == 403


async def test_what_a_question_brings_to_light_is_compared_too(desk: Desk) -> None:
    intent = await desk.placed()
    trade = desk.providers.wechat.pay(intent["reference"])
    trade.total += 1
    await desk.later(seconds=60)
    found = await desk.see(intent)
    assert (found["state"], found["failure"]) == ("failed", "amount-differs")
    assert [one["reason"] for one in await desk.aside()] == ["amount-differs"]
    assert await desk.payments() == []


async def _refused(desk: Desk, channel: str, headers: dict[str, str], body: bytes) -> None:
    answer = await desk.client.post(f"/api/v1/payment-callbacks/{channel}", content=body, headers=headers)
    assert answer.status_code == 422
    assert answer.json()["code"] in ("bad-signature", "bad-callback")


async def test_callbacks_that_are_not_wechats(desk: Desk) -> None:
    wechat = desk.providers.wechat
    intent = await desk.placed()
    trade = wechat.pay(intent["reference"])
    headers, body = wechat.callback(trade)
    await _refused(desk, "wechat", headers, body.replace(b"TRANSACTION", b"TRANSACTIONS"))
    await _refused(desk, "wechat", headers | {"Wechatpay-Serial": "PUB_KEY_ID_0119000002"}, body)
    await _refused(desk, "wechat", headers | {"Wechatpay-Signature": "WECHATPAY/SIGNTEST/abc"}, body)
    await _refused(desk, "wechat", {}, body)
    old = WechatPeer(**{**vars(wechat), "clock": lambda: datetime.now(UTC) - timedelta(minutes=6)})
    await _refused(desk, "wechat", *old.callback(trade))
    forged = WechatPeer(**{**vars(wechat), "platform_key": rsa_key("somebody")})
    await _refused(desk, "wechat", *forged.callback(trade))
    other_key = WechatPeer(**{**vars(wechat), "api_v3_key": API_V3_KEY[::-1]})
    await _refused(desk, "wechat", *other_key.callback(trade))
    await _refused(desk, "wechat", *wechat.callback(trade, mchid="1900000110"))
    await _refused(desk, "wechat", *wechat.callback(trade, amount={"total": "21033", "currency": "CNY"}))
    assert await desk.owing.site.rows("SELECT id FROM payment_callback") == []


async def test_notices_that_are_not_alipays(desk: Desk) -> None:
    alipay = desk.providers.alipay
    intent = await desk.placed(channel="alipay")
    trade = alipay.pay(intent["reference"])
    body = alipay.callback(trade)
    await _refused(desk, "alipay", {}, body.replace(b"total_amount=210.33", b"total_amount=2.33"))
    await _refused(desk, "alipay", {}, body.replace(b"sign_type=RSA2", b"sign_type=RSA"))
    await _refused(desk, "alipay", {}, body + b"&buyer_id=1")
    await _refused(desk, "alipay", {}, alipay.callback(trade, app_id="2021000116662389"))
    await _refused(desk, "alipay", {}, b"\xff\xfe")
    await _refused(desk, "alipay", {}, b"")
    waiting = alipay.callback(trade, trade_status="WAIT_BUYER_PAY")
    assert (await desk.client.post("/api/v1/payment-callbacks/alipay", content=waiting)).text == "success"
    assert await desk.owing.site.rows("SELECT id FROM payment_callback") == []


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
async def test_an_order_that_nobody_pays_is_closed(desk: Desk, channel: str) -> None:
    intent = await desk.placed(channel=channel)
    if channel == "alipay":
        desk.providers.alipay.scan(intent["reference"])
    await desk.later(minutes=14)
    assert (await desk.see(intent))["state"] == "pending"
    await desk.later(minutes=2)
    assert (await desk.see(intent))["state"] == "expired"
    trades = desk.providers.wechat.trades if channel == "wechat" else desk.providers.alipay.trades
    assert "CLOSED" in (getattr(trades[intent["reference"]], "state", "") + getattr(trades[intent["reference"]], "status", ""))  # noqa: E501  # fmt: skip


async def test_one_order_at_a_time(desk: Desk) -> None:
    first = await desk.placed()
    assert (await desk.ask())["id"] == first["id"]
    by_alipay = await desk.placed(channel="alipay")
    assert by_alipay["id"] != first["id"]
    await desk.collector.step()
    assert (await desk.see(first))["state"] == "cancelled"
    assert desk.providers.wechat.trades[first["reference"]].state == "CLOSED"
    # Nobody has scanned it: Alipay has nothing to close, and the code may be paid until its time is over.
    await desk.cancel(by_alipay)
    await desk.later(seconds=30)
    assert (await desk.see(by_alipay))["state"] == "pending"
    desk.providers.alipay.pay(by_alipay["reference"])
    await desk.later(seconds=60)
    assert (await desk.see(by_alipay))["state"] == "paid"


async def test_who_cancels_too_late_has_paid(desk: Desk) -> None:
    intent = await desk.placed()
    desk.providers.wechat.pay(intent["reference"])
    await desk.cancel(intent)
    await desk.collector.step()
    assert (await desk.see(intent))["state"] == "paid"


async def test_a_provider_that_is_down_is_asked_again_and_one_that_refuses_is_not(desk: Desk) -> None:
    desk.providers.wechat.down = True
    intent = await desk.placed()
    assert (intent["state"], intent["failure"]) == ("created", "wechat-unavailable")
    desk.providers.wechat.down = False
    await desk.later(seconds=60)
    assert (await desk.see(intent))["state"] == "pending"
    desk.providers.wechat.merchant_key = rsa_key("somebody").public_key()
    refused = await desk.placed(amount="5.00")
    assert (refused["state"], refused["failure"]) == ("failed", "SIGN_ERROR")


async def test_an_answer_that_is_not_signed_by_the_provider_is_no_answer(desk: Desk) -> None:
    desk.providers.wechat.platform_key = rsa_key("somebody")
    desk.providers.alipay.alipay_key = rsa_key("somebody")
    found = [await desk.placed(channel="wechat"), await desk.placed(channel="alipay", amount="5.00")]
    assert [(one["state"], one["failure"]) for one in found] == [
        ("created", "wechat-unsigned"), ("created", "alipay-unsigned"),
    ]  # fmt: skip


async def test_what_cannot_be_asked_for(desk: Desk, people: People) -> None:
    neighbour = desk.owing.site.flats[1]
    theirs = (await desk.owing.site.bills(account_id=neighbour.account_id))[0].id
    await desk.ask(404, bill_ids=[theirs])
    await desk.ask(404, account_id=neighbour.account_id, bill_ids=[theirs])
    await desk.ask(404, account_id=neighbour.account_id, amount="5.00")
    assert (await desk.ask(422, bill_ids=[]))["code"] == "no-bills"
    assert (await desk.ask(422, amount="0.00"))["code"] == "bad-amount"
    assert (await desk.ask(422, amount="0.001"))["code"] == "bad-amount"
    await desk.owing.pay(FEE, datetime.now(UTC).date() - timedelta(days=1))
    assert (await desk.ask(409))["code"] == "nothing-payable"
    await desk.ask(403, who=await people.staff("viewer", desk.owing.site.project.id), amount="5.00")


async def test_what_is_to_be_paid_never_changes(desk: Desk, web_db: Database, owner_db: Database) -> None:
    intent = await desk.placed()
    for change in ("amount = amount - 1", "account_id = 2", "expires_at = now()", "reference = 'another1'"):
        async with owner_db.transaction(SYSTEM) as conn:
            with pytest.raises(psycopg.IntegrityError, match="fixed"):
                await conn.execute(f"UPDATE payment_intent SET {change} WHERE id = {intent['id']}")
    async with web_db.transaction(SYSTEM) as conn:
        assert await (await conn.execute("SELECT id FROM payment_intent")).fetchall() == []


async def test_late_fees_are_part_of_what_is_payable(worker_db: Database, desk: Desk) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """INSERT INTO late_fee (project_id, bill_id, through, amount, rule, steps)
               SELECT project_id, id, due_on + 10, 2.10, '{}', '[]' FROM bill"""
        )
    assert RULE.daily_rate > 0
    intent = await desk.ask()
    assert intent["amount"]["amount"] == "212.43"
