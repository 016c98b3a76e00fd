"""Paying by a provider when what it says is odd: told twice in other words, incomplete, or impossible to book."""

import asyncio
from typing import Any

import pytest

from cloud.kit.db import SYSTEM
from cloud.kit.errors import Conflict
from cloud.payments import collecting
from cloud.payments.channels.alipay import Alipay
from cloud.payments.channels.wechat import WechatPay
from cloud.payments.intents import WantedPayment, ask_to_pay
from cloud.payments.service import record_payment
from tests.integration.app import once
from tests.integration.payments.providers import providers, settings
from tests.integration.payments.test_online import Desk, desk, owing_world

__all__ = ["desk", "owing_world", "providers", "settings"]


async def _told(desk: Desk, trade: Any, **changed: Any) -> None:
    """WeChat calls back, and the worker looks."""
    headers, body = desk.providers.wechat.callback(trade, **changed)
    answer = await desk.client.post("/api/v1/payment-callbacks/wechat", content=body, headers=headers)
    assert answer.status_code == 200
    await desk.collector.step()


async def test_money_that_fits_nothing_is_shown_once_however_we_learn_of_it(desk: Desk) -> None:
    intent = await desk.placed()
    trade = desk.providers.wechat.pay(intent["reference"])
    trade.total += 1
    await _told(desk, trade)
    await desk.later(seconds=60)
    await _told(desk, trade)
    found = await desk.see(intent)
    assert (found["state"], found["failure"]) == ("failed", "amount-differs")
    (aside,) = await desk.aside()
    path = f"/api/v1/payment-callbacks/{aside['id']}/settlements"
    done = await desk.client.post(path, json={"note": "given back"}, headers=desk.staff | once())
    assert done.status_code == 201
    await _told(desk, trade)
    assert await desk.aside() == []


async def test_money_that_is_booked_for_one_order_is_not_booked_for_another(desk: Desk) -> None:
    first, second = await desk.placed(amount="5.00"), await desk.placed(channel="wechat")
    trade = desk.providers.wechat.pay(first["reference"])
    await _told(desk, trade)
    await _told(desk, trade, out_trade_no=second["reference"], amount={"total": 21033, "currency": "CNY"})
    assert [one["reason"] for one in await desk.aside()] == ["paid-already"]
    assert [str(one["amount"]) for one in await desk.payments()] == ["5.00"]


async def test_what_cannot_be_booked_holds_up_nobody_else(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, sound = await desk.placed(amount="5.00"), await desk.placed()
    trades = [desk.providers.wechat.pay(one["reference"]) for one in (broken, sound)]
    book = record_payment

    async def refusing(conn: Any, account_id: int, amount: Any, *rest: Any, **more: Any) -> Any:
        if str(amount) == "5.00":
            raise Conflict("not-now", "not now")
        return await book(conn, account_id, amount, *rest, **more)

    monkeypatch.setattr(collecting, "record_payment", refusing)
    for trade in trades:
        await _told(desk, trade)
    assert [str(one["amount"]) for one in await desk.payments()] == ["210.33"]
    monkeypatch.undo()
    await desk.collector.step()
    assert [str(one["amount"]) for one in await desk.payments()] == ["210.33", "5.00"]


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
async def test_an_order_without_its_code_is_asked_for_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    async def nothing(*_: Any, **__: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(WechatPay, "_ask", nothing)
    monkeypatch.setattr(Alipay, "_ask", nothing)
    intent = await desk.placed(channel=channel)
    assert (intent["state"], intent["failure"]) == ("created", f"{channel}-unreadable")
    monkeypatch.undo()
    await desk.later(seconds=60)
    assert (await desk.see(intent))["state"] == "pending"


async def test_a_paid_order_that_does_not_say_when_is_asked_about_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    wechat = desk.providers.wechat
    whole = wechat._told
    intent = await desk.placed()
    wechat.pay(intent["reference"])
    monkeypatch.setattr(wechat, "_told", lambda trade: whole(trade) | {"success_time": None})
    await desk.later(seconds=60)
    found = await desk.see(intent)
    assert (found["state"], found["failure"]) == ("pending", "wechat-unreadable")
    monkeypatch.undo()
    await desk.later(seconds=60)
    assert (await desk.see(intent))["state"] == "paid"


async def test_two_pages_at_once_show_one_order(desk: Desk) -> None:
    db, account_id = desk.owing.db, desk.owing.account_id
    bill = (await desk.owing.bills())[0]
    wanted = WantedPayment("wechat", bill_ids=(bill.id,))

    async def ask() -> int:
        async with db.transaction(SYSTEM) as conn:
            return (await ask_to_pay(conn, account_id, wanted, ["wechat"], by=None)).id

    async with db.transaction(SYSTEM) as conn:
        first = await ask_to_pay(conn, account_id, wanted, ["wechat"], by=None)
        second = asyncio.create_task(ask())
        for _ in range(200):
            if second.done() or await desk.owing.site.rows("SELECT FROM pg_locks WHERE NOT granted"):
                break
            await asyncio.sleep(0.01)
    assert await second == first.id
    assert len(await desk.owing.site.rows("SELECT FROM payment_intent")) == 1
