"""What vehicles, cashiers, the worker and the providers do, in one line each."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.parking import service as parking
from cloud.parking.charging import debts
from cloud.parking.records import Paid, Quote, Session, SessionFilter
from cloud.payments import refunds
from cloud.payments.channels.base import ChannelName
from cloud.payments.collecting import Collector
from cloud.payments.intent_records import Intent
from cloud.payments.intents import WantedPayment
from cloud.payments.refunds import Refund
from gateway.contract.messages import Passage
from tests.integration.app import Auth, once
from tests.integration.parking.site import Site, openings, rows
from tests.integration.payments.providers import Providers

PLATE = "京A12345"


@dataclass
class Till:
    """The clock stands at `now`: a vehicle that came `hours` ago has been there so long."""

    db: Database
    site: Site
    client: httpx.AsyncClient
    collector: Collector
    providers: Providers
    staff: Auth
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    async def enter(self, *, hours: int, plate: str = PLATE) -> int:
        """A vehicle came in so long ago; its stay."""
        at = self.now - timedelta(hours=hours)
        await self.site.report(self.db, [self.site.passage("entry", plate, at)], at)
        return (await self.stay(plate)).id

    async def arrive(self, after: timedelta = timedelta(0), plate: str = PLATE) -> Passage:
        """It comes to the exit."""
        at = self.now + after
        passage = self.site.passage("exit", plate, at, "arrived")
        await self.site.report(self.db, [passage], at)
        return passage

    async def leave(self, passage: Passage | None = None, after: timedelta = timedelta(0), plate: str = PLATE) -> None:
        """It goes through the exit, opened by whomever."""
        at = self.now + after
        await self.site.report(self.db, [self.site.passage("exit", plate, at, "passed", passage)], at)

    async def stay(self, plate: str = PLATE) -> Session:
        """Its last stay."""
        async with self.db.transaction(SYSTEM) as conn:
            wanted = SessionFilter(project_id=self.site.project_id, plate=plate)
            return (await parking.list_sessions(conn, PageRequest(1), wanted)).items[0]

    async def quote(self, session_id: int, after: timedelta = timedelta(0)) -> Quote:
        """What it costs."""
        async with self.db.transaction(SYSTEM) as conn:
            return await parking.quote(conn, session_id, self.now + after)

    async def pay(self, session_id: int, amount: str, after: timedelta = timedelta(0)) -> Paid:
        """The cashier takes money."""
        async with self.db.transaction(SYSTEM) as conn:
            return await parking.pay(conn, session_id, Decimal(amount), "cash", "user:cashier", at=self.now + after)

    async def intent(self, session_id: int, channel: ChannelName = "wechat") -> Intent:
        """Somebody asks to pay by a provider, which has the order."""
        async with self.db.transaction(SYSTEM) as conn:
            made = await parking.ask_to_pay(conn, session_id, WantedPayment(channel), {channel}, self.now)
        await self.collector.step()
        return made

    async def paid(self, intent: Intent, *events: str) -> None:
        """He pays, and the provider calls back, as often as there are events."""
        peer: Any = self.providers.wechat if intent.channel == "wechat" else self.providers.alipay
        trade = peer.pay(intent.reference)
        for event in events or ("EV-1",):
            await (
                peer.call_back(self.client, trade, event)
                if intent.channel == "wechat"
                else peer.call_back(self.client, trade)
            )
            await self.collector.step()

    async def owed(self, plate: str = PLATE) -> Decimal:
        """What the plate owes for stays that are over."""
        async with self.db.transaction(SYSTEM) as conn:
            found = (await debts.owing(conn, self.site.project_id, [plate])).get(plate, [])
        return sum((debt.due for debt in found), Decimal(0))

    async def queue(self) -> list[Refund]:
        """The refund queue."""
        async with self.db.transaction(SYSTEM) as conn:
            return list((await refunds.list_refunds(conn, PageRequest(10), project_id=self.site.project_id)).items)

    async def decide(self, refund_id: int, status: int = 201, **body: object) -> dict[str, Any]:
        """Staff decide what becomes of money."""
        path = f"/api/v1/payment-refunds/{refund_id}/decisions"
        answer = await self.client.post(path, json=body, headers=self.staff | once())
        assert answer.status_code == status, answer.text
        return dict(answer.json())

    async def opened(self) -> int:
        """How many openings were ordered."""
        return len(await openings(self.db))

    async def payments(self) -> list[Decimal]:
        """Amounts of all payments."""
        return [row["amount"] for row in await rows(self.db, "SELECT amount FROM payment ORDER BY id")]

    async def told_owing(self) -> list[str]:
        """Plates that gateways are told to owe."""
        async with self.db.transaction(SYSTEM) as conn:
            await debts.tell_owing(conn, self.site.project_id)
        found = await rows(
            self.db, "SELECT key FROM gateway_access_entry WHERE kind = 'list' AND entry IS NOT NULL ORDER BY key"
        )
        return [row["key"] for row in found]

    async def proof(self) -> list[billing.Discrepancy]:
        """What does not add up."""
        async with self.db.transaction(SYSTEM) as conn:
            return await billing.discrepancies(conn, self.site.project_id)
