"""A provider's statement tells of a parking fee while its callback and a question do, too: it is booked once."""

import asyncio
from datetime import timedelta
from typing import Final
from zoneinfo import ZoneInfo

import httpx
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.parking import service as parking
from cloud.parking.charging import online
from cloud.payments import intent_repository
from cloud.payments.channels.base import ChannelName
from cloud.payments.collecting import Collector
from cloud.payments.intents import WantedPayment
from cloud.payments.reconciliation.taking import Reconciler
from tests.integration.parking.site import Site, rows
from tests.integration.payments.providers import Providers, providers, settings

__all__ = ["providers", "settings"]

PLATE = "京A12345"
_CHANNELS: Final[tuple[ChannelName, ...]] = ("wechat",)


@pytest.mark.parametrize("over", [False, True], ids=["open order", "order that is over"])
async def test_three_who_tell_of_one_payment_are_booked_once(
    app_client: httpx.AsyncClient,
    ingest_db: Database,
    worker_db: Database,
    site: Site,
    providers: Providers,
    over: bool,
) -> None:
    now = providers.now()
    await site.report(ingest_db, [site.passage("entry", PLATE, now - timedelta(hours=5))], now)
    async with worker_db.transaction(SYSTEM) as conn:
        wanted = WantedPayment("wechat")
        intent = await online.ask_to_pay_plate(conn, site.project_id, PLATE, wanted, _CHANNELS, now)
    async with providers.channels() as channels:
        takers = {"parking": parking.take_paid}
        collectors = [Collector(worker_db, channels, providers.now, takers) for _ in range(2)]  # type: ignore[arg-type]
        await collectors[0].step()
        trade = providers.wechat.pay(intent.reference)
        if over:
            await rows(worker_db, "UPDATE payment_intent SET state = 'cancelled' RETURNING id")
        assert trade.paid_at is not None
        day = trade.paid_at.astimezone(ZoneInfo("Asia/Shanghai")).date()
        async with worker_db.transaction(SYSTEM) as conn:
            await conn.execute(
                "INSERT INTO provider_statement (channel, day, look_at) VALUES ('wechat', %s, %s)", (day, now)
            )
        providers.ahead = providers.wechat.made_ahead = timedelta(days=3)
        # All three have told it before anybody takes what was told; then two take it at once.
        await Reconciler(worker_db, channels, providers.now).step()
        await providers.wechat.call_back(app_client, trade)
        seen = (await channels["wechat"].query(intent.reference)).paid
        assert seen is not None
        async with worker_db.transaction(SYSTEM) as conn:
            await intent_repository.keep_callback(conn, "wechat", f"query:{seen.reference}:{seen.provider_id}", seen)
        await asyncio.gather(*(one.step() for one in collectors))
        await collectors[0].step()
    assert [one["amount"] for one in await rows(worker_db, "SELECT amount FROM payment")] == [intent.amount]
    (paid,) = await rows(worker_db, "SELECT sum(amount) AS amount FROM parking_payment")
    assert paid["amount"] == intent.amount
    told = await rows(worker_db, "SELECT state FROM payment_callback ORDER BY state DESC")
    assert [one["state"] for one in told] == ["used", "repeated", "repeated"]
    assert await rows(worker_db, "SELECT FROM payment_refund") == []
    assert await rows(worker_db, "SELECT FROM provider_difference") == []
    assert await rows(worker_db, "SELECT moves FROM provider_statement WHERE state = 'kept'") == [{"moves": 1}]
