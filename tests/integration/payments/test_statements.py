"""Providers' statements: what nobody told us is learned from them, and where they disagree with our books is shown."""

import asyncio
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM
from cloud.kit.security import Keys
from cloud.payments import refunds
from cloud.payments.reconciliation import repository
from cloud.settings import CloudSettings
from cloud.worker import serve
from simulators.payments.statements import wechat_statement
from tests.integration.app import once
from tests.integration.payments.providers import providers, settings
from tests.integration.payments.test_online import Desk, desk, owing_world

__all__ = ["desk", "owing_world", "providers", "settings"]

_WAITING = """
    SELECT FROM pg_locks JOIN pg_stat_activity USING (pid) WHERE NOT granted AND datname = current_database()
"""


async def _days_pass(desk: Desk, days: int = 5) -> None:
    """Mornings come, and the worker takes all statements that are there by then."""
    desk.providers.ahead += timedelta(days=days)
    desk.providers.wechat.made_ahead = desk.providers.alipay.made_ahead = desk.providers.ahead
    while await desk.reconciler.step():
        await desk.collector.step()


async def _paid(desk: Desk, channel: str = "wechat", **body: Any) -> Any:
    """A payment that the provider took and that we know of: the trade there."""
    intent = await desk.placed(channel=channel, **body)
    peer: Any = desk.providers.wechat if channel == "wechat" else desk.providers.alipay
    trade = peer.pay(intent["reference"])
    await peer.call_back(desk.client, trade)
    await desk.collector.step()
    assert (await desk.see(intent))["state"] == "paid"
    return trade


async def _given_back(desk: Desk, trade: Any, amount: str) -> str:
    """Part of a payment is given back by the provider that took it: the number of the refund."""
    number = getattr(trade, "transaction_id", None) or trade.trade_no
    async with desk.owing.site.db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT id FROM payment WHERE reference = %s", (number,))).fetchone()
        assert row is not None
        refund_id = await refunds.owe_back(conn, row["id"], Decimal(amount), "fee-lower", "京A12345")
        asked = await refunds.decide(conn, refund_id, "refund", "stayed less long", by=None, now=desk.providers.now())
    await desk.collector.step()
    return asked.reference


async def _differences(desk: Desk, state: str = "open") -> list[dict[str, Any]]:
    answer = await desk.client.get(f"/api/v1/provider-differences?state={state}", headers=desk.staff)
    assert answer.status_code == 200, answer.text
    return [dict(one) for one in answer.json()["items"]]


async def _statements(desk: Desk) -> list[dict[str, Any]]:
    answer = await desk.client.get("/api/v1/provider-statements", headers=desk.staff)
    return [dict(one) for one in answer.json()["items"]]


def _amounts(one: dict[str, Any]) -> tuple[str | None, str | None]:
    here, there = (one[side] and one[side]["amount"] for side in ("here", "there"))
    return here, there


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
async def test_where_both_agree_nothing_is_shown(desk: Desk, channel: str) -> None:
    trade = await _paid(desk, channel, amount="80.00")
    await _given_back(desk, trade, "30.00")
    await _days_pass(desk)
    assert await _differences(desk) == []
    kept = [one for one in await _statements(desk) if one["state"] == "kept"]
    assert len(kept) >= 3
    assert (sum(one["moves"] for one in kept), sum(one["others"] for one in kept)) == (2, 0)
    # Once more, as by a second worker, changes nothing.
    await desk.owing.site.rows("UPDATE provider_statement SET state = 'wanted', kept_at = NULL RETURNING id")
    await _days_pass(desk, 1)
    assert len(await desk.owing.site.rows("SELECT id FROM provider_move")) == 2
    assert await _differences(desk) == []


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
async def test_money_that_nobody_told_us_of_is_learned_from_the_statement(desk: Desk, channel: str) -> None:
    await _paid(desk, channel, amount="5.00")
    lost = await desk.ask(channel=channel)
    await desk.collector.step()
    await desk.cancel(lost)
    peer: Any = desk.providers.wechat if channel == "wechat" else desk.providers.alipay
    trade = peer.pay(lost["reference"])
    # The payer was quicker than the closing, and the provider did not say so.
    await desk.owing.site.rows("UPDATE payment_intent SET state = 'cancelled' WHERE id = %s RETURNING id", lost["id"])
    await _days_pass(desk)
    (aside,) = await desk.aside()
    assert (aside["reference"], aside["reason"], aside["amount"]["amount"]) == (
        lost["reference"], "order-over", "210.33",
    )  # fmt: skip
    assert aside["provider_id"] == (trade.transaction_id if channel == "wechat" else trade.trade_no)
    assert await _differences(desk) == []


async def test_payments_that_only_we_know_are_shown_until_a_later_statement_has_them(desk: Desk) -> None:
    trade = await _paid(desk, amount="80.00")
    del desk.providers.wechat.trades[trade.reference]
    await _paid(desk, amount="7.00")
    await _days_pass(desk)
    (found,) = await _differences(desk)
    assert (found["kind"], *_amounts(found)) == ("payment-missing-there", "80.00", None)
    assert (found["reference"], found["provider_id"]) == (trade.reference, trade.transaction_id)
    desk.providers.wechat.trades[trade.reference] = trade
    trade.paid_at = desk.providers.now()
    await _days_pass(desk)
    assert await _differences(desk) == []
    assert [one["id"] for one in await _differences(desk, "gone")] == [found["id"]]


async def test_a_payment_of_another_amount_is_shown(desk: Desk) -> None:
    trade = await _paid(desk, amount="80.00")
    trade.total = 9000
    await _days_pass(desk)
    (found,) = await _differences(desk)
    assert (found["kind"], *_amounts(found)) == ("payment-differs", "80.00", "90.00")


async def test_refunds_that_disagree_are_shown_each_with_its_reason(desk: Desk) -> None:
    portal, other, failed, lost = [await _paid(desk, amount=amount) for amount in ("10", "20", "30", "40")]
    portal.refunds["R2026"], portal.refunded_at["R2026"] = 1000, portal.paid_at
    numbers = [await _given_back(desk, one, "4.00") for one in (other, failed, lost)]
    other.refunds[numbers[0]] = 500
    failed.failed.add(numbers[1])
    del lost.refunds[numbers[2]]
    await _days_pass(desk)
    found = {one["kind"]: one for one in await _differences(desk)}
    assert {kind: _amounts(one) for kind, one in found.items()} == {
        "refund-missing-here": (None, "10.00"),
        "refund-differs": ("4.00", "5.00"),
        "refund-failed": ("4.00", "4.00"),
        "refund-missing-there": ("4.00", None),
    }
    assert found["refund-missing-here"]["refund_reference"] == "R2026"
    assert found["refund-missing-there"]["reference"] == lost.reference


async def test_a_refund_that_fails_days_after_is_shown(desk: Desk) -> None:
    trade = await _paid(desk, amount="80.00")
    number = await _given_back(desk, trade, "30.00")
    await _days_pass(desk)
    assert await _differences(desk) == []
    trade.failed.add(number)
    trade.refunded_at[number] = desk.providers.now()
    await _days_pass(desk)
    (found,) = await _differences(desk)
    assert (found["kind"], *_amounts(found)) == ("refund-failed", "30.00", "30.00")


async def test_what_else_the_merchant_sells_is_counted_and_nothing_more(desk: Desk) -> None:
    trade = await _paid(desk, amount="80.00")
    shop = type(trade)(**{**vars(trade), "reference": "shop-2026-1", "transaction_id": "4200099", "refunds": {}})
    desk.providers.wechat.trades["shop-2026-1"] = shop
    await _days_pass(desk)
    assert (await _differences(desk), await desk.aside()) == ([], [])
    kept = await _statements(desk)
    assert (sum(one["moves"] for one in kept), sum(one["others"] for one in kept)) == (1, 1)


async def test_a_statement_that_cannot_be_read_is_asked_for_again_and_says_so(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _paid(desk, amount="80.00")

    def cut_short(*rest: Any) -> bytes | None:
        made = wechat_statement(*rest)
        return made and made[: len(made) // 2]

    monkeypatch.setattr("simulators.payments.wechat.wechat_statement", cut_short)
    await _days_pass(desk)
    (unread,) = [one for one in await _statements(desk) if one["failure"]]
    assert (unread["state"], unread["failure"].split(":")[0]) == ("wanted", "statement-unreadable")
    monkeypatch.undo()
    await _days_pass(desk, 1)
    assert {one["state"] for one in await _statements(desk)} >= {"kept"}
    assert [one["failure"] for one in await _statements(desk) if one["day"] == unread["day"]] == [None]


async def test_before_the_morning_there_is_no_statement_and_none_is_missed(desk: Desk) -> None:
    await _paid(desk, amount="80.00")
    desk.providers.ahead += timedelta(days=5)
    while await desk.reconciler.step():
        pass
    assert {one["state"] for one in await _statements(desk)} == {"wanted"}
    await _days_pass(desk, 1)
    assert sum(one["moves"] for one in await _statements(desk)) == 1
    assert await _differences(desk) == []


async def test_somebody_says_what_a_difference_was_and_others_do_not_see_it(desk: Desk, people: Any) -> None:
    trade = await _paid(desk, amount="80.00")
    trade.total = 9000
    await _days_pass(desk)
    (found,) = await _differences(desk)
    async with desk.owing.site.db.transaction(SYSTEM) as conn:
        other = await estate.create_project(conn, "other", "Other", "Asia/Shanghai", "CNY")
    stranger = await people.staff("cashier", other.id)
    path = f"/api/v1/provider-differences/{found['id']}"
    assert (await desk.client.get(path, headers=stranger)).status_code == 404
    assert (await desk.client.get(path, headers=desk.resident)).status_code == 403
    body = {"note": "a discount of the provider's own"}
    answer = await desk.client.post(f"{path}/settlements", json=body, headers=desk.staff | once())
    assert answer.status_code == 201
    assert (answer.json()["state"], answer.json()["note"]) == ("settled", body["note"])
    again = await desk.client.post(f"{path}/settlements", json=body, headers=desk.staff | once())
    assert (again.status_code, again.json()["code"]) == (409, "difference-over")
    assert await _differences(desk) == []


async def test_what_is_paid_now_is_booked_while_a_statement_comes_drop_by_drop(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _paid(desk, amount="80.00")
    later = desk.providers.wechat.pay((await desk.placed(amount="7.00"))["reference"])
    asked, never, stop = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def slow(*_: Any) -> None:
        asked.set()
        await never.wait()

    monkeypatch.setattr("cloud.payments.channels.wechat.WechatPay.statement", slow)
    desk.providers.ahead += timedelta(days=3)
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        group.create_task(desk.reconciler.run(stop))
        await asked.wait()
        await desk.providers.wechat.call_back(desk.client, later)
        await desk.collector.step()
        stop.set()
    assert [one["amount"] for one in await desk.payments()] == [80, 7]


async def test_a_statement_that_does_not_end_is_given_up_and_asked_for_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    await _paid(desk, amount="80.00")

    async def slow(*_: Any) -> None:
        await asyncio.Event().wait()

    with monkeypatch.context() as patched:
        patched.setattr("cloud.payments.channels.wechat.WechatPay.statement", slow)
        patched.setattr("cloud.payments.reconciliation.taking._LONGEST_S", 0.01)
        await _days_pass(desk, 3)
    assert {one["failure"].split(":")[0] for one in await _statements(desk)} == {"statement-too-slow"}
    await _days_pass(desk, 1)
    assert [one["moves"] for one in await _statements(desk) if one["moves"] or one["failure"]] == [1]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        pytest.param(lambda made: made.replace(b"`SUCCESS", b"`SUCC\0ESS"), "statement-unreadable", id="nul"),
        pytest.param(lambda made: made + b"x" * 2000, "wechat-unreadable", id="too large"),
    ],
)
async def test_what_the_database_cannot_hold_or_memory_not_take_ends_no_worker(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, damage: Any, code: str
) -> None:
    await _paid(desk, amount="80.00")
    with monkeypatch.context() as patched:
        patched.setattr("cloud.payments.channels.downloading.LARGEST_FILE", 2000)

        def damaged(*rest: Any) -> bytes | None:
            made = wechat_statement(*rest)
            return made and damage(made)

        patched.setattr("simulators.payments.wechat.wechat_statement", damaged)
        await _days_pass(desk, 3)
    (unread,) = [one for one in await _statements(desk) if one["failure"]]
    assert unread["failure"].split(":")[0] == code
    await _days_pass(desk, 1)
    assert [one["moves"] for one in await _statements(desk) if one["moves"] or one["failure"]] == [1]


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
async def test_an_address_that_is_none_is_asked_for_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    await _paid(desk, channel, amount="80.00")

    async def badly(*_: Any, **__: Any) -> dict[str, str]:
        return {"download_url": "http://a:port/", "bill_download_url": "http://a:port/"}

    name = "wechat.WechatPay" if channel == "wechat" else "alipay.Alipay"
    monkeypatch.setattr(f"cloud.payments.channels.{name}._ask", badly)
    await _days_pass(desk, 3)
    assert {one["state"] for one in await _statements(desk)} == {"wanted"}
    assert {one["failure"].split(":")[0].split("-")[0] for one in await _statements(desk)} == {channel}


async def test_the_same_line_twice_in_a_statement_counts_once(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    trade = await _paid(desk, amount="80.00")
    number = await _given_back(desk, trade, "30.00")
    # A refund that was on its way in the morning and failed in the evening of one day.
    trade.failed.add(number)

    def twice(trades: Any, *rest: Any) -> bytes | None:
        under_way = replace(trade, failed=set(), paid_at=None)
        return wechat_statement([*trades, under_way], *rest)

    monkeypatch.setattr("simulators.payments.wechat.wechat_statement", twice)
    await _days_pass(desk)
    assert not any(one["failure"] for one in await _statements(desk))
    assert [one["kind"] for one in await _differences(desk)] == ["refund-failed"]


async def test_two_workers_who_keep_two_days_at_once_miss_no_payment(desk: Desk) -> None:
    trade = await _paid(desk, amount="80.00")
    del desk.providers.wechat.trades[trade.reference]
    await _paid(desk, amount="7.00")
    desk.providers.ahead += timedelta(days=3)
    db, now = desk.owing.site.db, desk.providers.now()
    paid_on = trade.paid_at.astimezone(ZoneInfo("Asia/Shanghai")).date()
    async with db.transaction(SYSTEM) as conn:
        await repository.want(conn, ["wechat"], paid_on, paid_on + timedelta(days=1), now)
        days = [await repository.claim(conn, ["wechat"], now, timedelta(minutes=5)) for _ in range(2)]
    first, second = days
    assert first is not None
    assert second is not None

    async def keep_second() -> None:
        async with db.transaction(SYSTEM) as conn:
            await repository.keep(conn, second, [], 0, now)

    async with asyncio.timeout(60), asyncio.TaskGroup() as group, db.transaction(SYSTEM) as conn:
        await repository.keep(conn, first, [], 0, now)
        other = group.create_task(keep_second())
        while not other.done() and not await desk.owing.site.rows(_WAITING):
            await asyncio.sleep(0.01)
    assert {one["kind"] for one in await _differences(desk)} == {"payment-missing-there"}


async def test_the_worker_takes_statements_by_itself(
    desk: Desk, settings: CloudSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    trade = await _paid(desk, amount="80.00")
    trade.paid_at -= timedelta(days=3)
    await desk.owing.site.rows("UPDATE payment_callback SET paid_at = paid_at - interval '3 days' RETURNING id")
    monkeypatch.setattr("cloud.worker.new_client", desk.providers.client)
    Keys.generate().save(settings.keys_file)
    working = asyncio.create_task(serve(settings))
    try:
        async with asyncio.timeout(60):
            while not working.done() and not any(one["moves"] for one in await _statements(desk)):
                await asyncio.sleep(0.05)
            assert not working.done()
    finally:
        working.cancel()
        with suppress(asyncio.CancelledError):
            await working


@pytest.mark.parametrize("channel", ["wechat", "alipay"])
async def test_a_provider_that_is_late_by_days_is_asked_until_it_has_the_statement(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, channel: str
) -> None:
    await _paid(desk, channel, amount="80.00")
    with monkeypatch.context() as patched:
        patched.setattr(f"simulators.payments.{channel}.{channel}_statement", lambda *_: None)
        await _days_pass(desk)
    (late,) = [one for one in await _statements(desk) if one["failure"]]
    assert (late["state"], late["failure"].split(":")[0]) == ("wanted", "statement-missing")
    assert await _differences(desk) == []
    await _days_pass(desk, 1)
    assert [one["moves"] for one in await _statements(desk) if one["moves"] or one["failure"]] == [1]


async def test_a_statement_that_never_comes_leaves_its_payments_to_be_looked_at(desk: Desk) -> None:
    trade = await _paid(desk, amount="80.00")
    del desk.providers.wechat.trades[trade.reference]
    await _days_pass(desk, 35)
    assert [one["kind"] for one in await _differences(desk)] == ["payment-missing-there"]
