"""Whatever happens to stays and their money, in whatever order: the books add up and everybody is told the same."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any, LiteralString
from uuid import UUID

import msgspec
import pytest

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict, GatemeterError
from cloud.kit.paging import PageRequest
from cloud.kit.periods import in_ms
from cloud.kit.yaml_files import load_yaml
from cloud.parking import service as parking
from cloud.parking.charging import debts, quoting
from cloud.parking.charging.covering import covering_unseen
from cloud.parking.coupons import giving
from cloud.parking.coupons import service as coupons
from cloud.parking.coupons.records import Batch, NewBatch
from cloud.parking.coupons.redeeming import redeem
from cloud.parking.edge import telling as edge
from cloud.parking.fees.models import ParkingRule, Schedule, Unit
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.permits import cards, classes, endings
from cloud.parking.permits import service as permits
from cloud.parking.permits.records import Holding, Pay
from cloud.parking.stays import corrections
from cloud.parking.stays.service import find_session
from cloud.parking.visitors import service as visitors
from cloud.payments import refunds
from cloud.payments.channels.base import Paid as ProviderPaid
from cloud.payments.intent_records import Intent
from cloud.payments.intents import WantedPayment
from gateway.contract.access import LotEntry, StayEntry
from gateway.contract.messages import Passage
from tests.integration.parking.nested import LANES, add_inner_lot, set_policy
from tests.integration.parking.permits.holder import make_permit, make_product
from tests.integration.parking.site import MALL, NOON, Site, rows
from tests.integration.parking.test_circumstances import QUOTA, _publish

PLATES = ("京A12345", "京A1234S", "沪BD0000")
"""The first two may be misread for each other."""
HOURLY = Schedule(free_minutes=30, unit=Unit(minutes=60, price=Decimal("3.33")))
WORLDS: tuple[tuple[Schedule | None, dict[str, Any]], ...] = (
    (None, {"reentry_within_minutes": 15, "unseen_entry": [{"then": "last-known"}]}),
    (QUOTA, {}),
    (HOURLY, {"unseen_entry": [{"then": "fixed-charge", "amount": "20.00"}]}),
)

STEPS = 45


@dataclass
class _History:
    db: Database
    ingest: Database
    site: Site
    chance: Random
    now: datetime = NOON + timedelta(days=2)
    late: list[Passage] = field(default_factory=list)
    asked: list[Intent] = field(default_factory=list)
    codes: list[str] = field(default_factory=list)
    batches: list[Batch] = field(default_factory=list)
    product_id: int = 0
    card_id: int = 0
    done: list[str] = field(default_factory=list)
    last: dict[str, str] = field(default_factory=dict)
    permit_id: int = 0
    plates_changed: bool = False
    """A plate came onto a shared space, or left one, afterwards: who had left was told another price, and keeps it."""

    async def step(self) -> None:
        """Something happens, and time goes by."""
        self.now += timedelta(seconds=self.chance.choice([7, 61, 400, 899, 1801, 3600, 9001]), milliseconds=137)
        deeds = [self._drives] * 8 + [self._comes_late] * 2 + [self._pays] * 3 + [self._asks] * 2 + [self._paid] * 2
        deeds += [self._splits] * 2
        deeds += [
            self._waives,
            self._coupon,
            self._gift,
            self._card,
            self._permit,
            self._plate,
            self._class,
            self._pass,
            self._white,
            self._corrects,
            self._gives_back,
        ]
        deed: Callable[[], Awaitable[None]] = self.chance.choice(deeds)
        self.done.append(f"{self.now:%d %H:%M:%S} {deed.__name__}")
        try:
            await deed()
        except GatemeterError as error:
            self.done[-1] += f" refused: {error.code}"

    async def _drives(self) -> None:
        plate, (device, direction) = self.chance.choice(PLATES), self.chance.choice(LANES)
        if self.chance.random() < 0.75:  # mostly they come and go as one does
            direction = device = "exit" if self.last.get(plate) == "entry" else "entry"
            self.last[plate] = direction
        outcome = self.chance.choice(["passed", "passed", "passed", "arrived", "turned-back"])
        at = self.now - timedelta(seconds=self.chance.choice([0, 0, 3, 4000]))
        passage = msgspec.structs.replace(self.site.passage(device, plate, at, outcome), direction=direction)
        self.done[-1] += f" {plate} {device} {outcome} at {at:%d %H:%M:%S}"
        if self.chance.random() < 0.15:
            self.late.append(passage)
        else:
            await self.site.report(self.ingest, [passage], self.now)

    async def _comes_late(self) -> None:
        if self.late:
            passage = self.late.pop(self.chance.randrange(len(self.late)))
            await self.site.report(self.ingest, [passage], self.now)

    async def _splits(self) -> None:
        """It had been out in between, or came in again unseen: a stay that was paid is two."""
        query: LiteralString = """
            SELECT plate, entered_at, coalesce(left_at, %s) - entered_at AS stayed FROM parking_session s
            WHERE lot_id = %s AND plate <> '' AND entered_at < %s
              AND EXISTS (SELECT FROM parking_payment p WHERE p.session_id = s.id)
            ORDER BY id"""
        if found := await rows(self.db, query, (self.now, self.site.lot_id, self.now)):
            stay = self.chance.choice(found)
            out, back = sorted(
                stay["entered_at"] + stay["stayed"] * tenths / 10 for tenths in self.chance.sample(range(1, 10), 2)
            )
            told = [self.site.passage("exit", stay["plate"], out), self.site.passage("entry", stay["plate"], back)]
            self.done[-1] += f" {stay['plate']} {out:%d %H:%M:%S} {back:%d %H:%M:%S}"
            await self.site.report(self.ingest, told[self.chance.choice([0, 0, 1]) :], self.now)

    async def _session(self) -> int | None:
        """Mostly one for which something is due."""
        found = await rows(self.db, "SELECT id FROM parking_session ORDER BY id DESC LIMIT 8")
        self.chance.shuffle(found)
        async with self.db.transaction(SYSTEM) as conn:
            for row in found:
                try:
                    if self.chance.random() < 0.1 or (await parking.quote(conn, row["id"], self.now)).due:
                        return int(row["id"])
                except Conflict:
                    continue
        return None

    async def _pays(self) -> None:
        session_id = await self._session()
        if session_id is not None:
            async with self.db.transaction(SYSTEM) as conn:
                quote = await parking.quote(conn, session_id, self.now)
                amount = self.chance.choice([quote.due, quote.total])
                self.done[-1] += f" {session_id} {amount}"
                await parking.pay(conn, session_id, amount, "cash", "user:1", at=self.now)
                after = await parking.quote(conn, session_id, self.now)
                assert after.due == 0, self.done
                assert amount != quote.total or after.total == 0, self.done

    async def _asks(self) -> None:
        session_id = await self._session()
        if session_id is not None:
            async with self.db.transaction(SYSTEM) as conn:
                wanted = WantedPayment("wechat")
                made = await parking.ask_to_pay(conn, session_id, wanted, {"wechat"}, self.now)
            self.done[-1] += f" {session_id} {made.amount}"
            self.asked.append(made)

    async def _paid(self) -> None:
        if self.asked:
            intent = self.asked.pop(self.chance.randrange(len(self.asked)))
            told = ProviderPaid(intent.reference, f"wx-{len(self.done)}", intent.amount, intent.currency, self.now)
            self.done[-1] += f" {intent.amount}"
            async with self.db.transaction(SYSTEM) as conn:
                await parking.take_paid(conn, intent, told, self.now.date(), self.now)

    async def _waives(self) -> None:
        session_id = await self._session()
        if session_id is not None:
            async with self.db.transaction(SYSTEM) as conn:
                amount = self.chance.choice([None, Decimal("0.50"), Decimal("3.00")])
                await parking.waive(conn, session_id, amount, "so be it", "user:1")

    async def _coupon(self) -> None:
        if self.codes:
            async with self.db.transaction(SYSTEM) as conn:
                plate = self.chance.choice(PLATES)
                await redeem(conn, self.site.project_id, plate, self.codes[-1], "user:1", self.now)
            self.codes.pop()

    async def _gift(self) -> None:
        """The merchant gives a coupon to a plate, or shows a code that somebody hands in later."""
        batch = self.chance.choice(self.batches)
        async with self.db.transaction(SYSTEM) as conn:
            if self.chance.random() < 0.5:
                plate = self.chance.choice(PLATES)
                await giving.give(conn, batch.merchant_id, batch.id, plate, "user:3", self.now)
            else:
                shown = await giving.hand_out(conn, batch.merchant_id, batch.id, "user:3", self.now)
                self.codes.append(shown.code)

    async def _card(self) -> None:
        """A card is sold, renewed, ended: the stays of its day cost nothing, months that did not begin come back."""
        async with self.db.transaction(SYSTEM) as conn:
            if not self.card_id:
                offer = await cards.sale_offer(conn, self.product_id, 1, None, self.now)
                holding = Holding(PLATES[:1], note="test")
                pay = Pay(offer.amount, "cash")
                self.card_id = (await cards.sell(conn, self.product_id, holding, 1, pay, at=self.now)).id
                return
            card = await permits.get_permit(conn, self.card_id, self.now)
            if self.chance.random() < 0.5:
                assert card.valid_until is not None
                offer = await cards.renewal_offer(conn, card.id, 1, self.now)
                await cards.renew(conn, card.id, 1, card.valid_until, Pay(offer.amount, "cash"), at=self.now)
                return
            await endings.end_permit(conn, card.id, "moved", at=self.now)
        self.card_id = 0

    async def _permit(self) -> None:
        if not self.permit_id:
            made = await make_permit(
                self.db, self.site, PLATES[1:], spaces=1, when_freed=self.chance.choice(["never", "from-then"]),
                since=self.now - timedelta(hours=self.chance.choice([0, 5])), at=self.now,
            )  # fmt: skip
            self.permit_id = made.id
            return
        async with self.db.transaction(SYSTEM) as conn:
            if (await permits.get_permit(conn, self.permit_id, self.now)).suspended_reason is None:
                await permits.suspend(conn, self.permit_id, "unpaid", self.now)
            else:
                await permits.resume(conn, self.permit_id, self.now)

    async def _plate(self) -> None:
        if self.permit_id:
            at = self.now - timedelta(hours=self.chance.choice([0, 5, 30]))
            async with self.db.transaction(SYSTEM) as conn:
                there = PLATES[1] in (await permits.get_permit(conn, self.permit_id, self.now)).plates
                change = permits.remove_plate if there else permits.add_plate
                await change(conn, self.permit_id, PLATES[1], at, self.now)
            self.plates_changed = True

    async def _class(self) -> None:
        """What it was before counts for its time, also of stays whose passages come later."""
        if self.permit_id:
            async with self.db.transaction(SYSTEM) as conn:
                wanted = self.chance.choice(["", "small", "large"])
                self.done[-1] += f" {wanted}"
                await classes.change_class(conn, self.permit_id, wanted, self.now)

    async def _pass(self) -> None:
        async with self.db.transaction(SYSTEM) as conn:
            held = (await visitors.list_passes(conn, PageRequest(1), holding_at=self.now)).items
            if held:
                await visitors.revoke_pass(conn, held[0].id, self.now)
            else:
                until = self.now + timedelta(hours=9)
                since = self.now - timedelta(hours=self.chance.choice([0, 3, 20]))
                wanted = visitors.WantedPass(self.chance.choice(PLATES), since, until)
                await visitors.give_pass(conn, self.site.project_id, wanted, now=self.now)

    async def _white(self) -> None:
        async with self.db.transaction(SYSTEM) as conn:
            (entry,) = await (
                await conn.execute("SELECT min(id) AS id FROM parking_list_entry WHERE ended_at IS NULL")
            ).fetchall()
            if entry["id"] is not None:
                await lists.end(conn, entry["id"], "enough", "user:1", self.now)
            else:
                since = self.now - timedelta(hours=self.chance.choice([0, 3, 20]))
                new = NewEntry(self.site.project_id, "white", PLATES[0], "doctor", self.site.lot_id, since, None)
                await lists.add(conn, new, "user:1", self.now)

    async def _corrects(self) -> None:
        known = await rows(self.db, "SELECT id FROM passage ORDER BY taken_at, id")
        if known:
            async with self.db.transaction(SYSTEM) as conn:
                name: UUID = self.chance.choice(known)["id"]
                plate = self.chance.choice([*PLATES, "粤Z99999"])
                self.done[-1] += f" {plate}"
                await corrections.correct_plate(conn, name, plate, "seen", "guard", self.now)

    async def _gives_back(self) -> None:
        async with self.db.transaction(SYSTEM) as conn:
            await debts.release_surplus(conn, self.site.project_id, self.now + timedelta(days=1))
            for one in (await refunds.list_refunds(conn, PageRequest(2), state="open")).items:
                decision: Any = self.chance.choice(["refund", "keep"])
                method = "cash" if decision == "refund" else None
                await refunds.decide(conn, one.id, decision, "so", method=method, by=None, now=self.now)

    async def check(self) -> None:
        """What must hold at every moment."""
        async with self.db.transaction(SYSTEM) as conn:
            assert [str(one) for one in await billing.discrepancies(conn, self.site.project_id)] == [], self.done
            for row in await rows(
                self.db, "SELECT id, fee, unpaid FROM parking_session WHERE state <> 'open' AND fee IS NOT NULL"
            ):
                quote = await parking.quote(conn, row["id"], self.now)
                assert (quote.fee, quote.due) == (row["fee"], max(row["unpaid"], 0)), (row, quote, self.done)
                assert quote.surplus == max(-row["unpaid"], 0), self.done
                await self._check_price(conn, row["id"], row["fee"])
            both = """SELECT plate FROM parking_session WHERE plate <> '' GROUP BY project_id, plate
                      HAVING min(unpaid) < 0 AND max(unpaid) > 0"""
            assert await rows(self.db, both) == [], self.done
            await self._check_promises(conn)

    async def _check_price(self, conn: Conn, session_id: int, fee: Decimal) -> None:
        """What is stored of a stay that is over is what follows from all that is known now."""
        session = await find_session(conn, session_id)
        assert session.left_at is not None
        prices = await quoting.prices_of(conn, session.project_id, [session])
        if session.fixed_fee is not None:
            covered = await covering_unseen(conn, session.project_id, [session])
            anew: Decimal | None = Decimal(0) if covered else session.fixed_fee
        else:
            found = quoting.assessed(prices, session, session.left_at)
            anew = None if found is None else found[1].fee.amount
        if anew is not None:
            assert fee == anew or (fee < anew and self.plates_changed), (session, anew, self.done)

    async def _check_promises(self, conn: Conn) -> None:
        """Until when a lane lets somebody out without asking, leaving costs nothing."""
        served = await edge._entries(conn, self.site.project_id, [self.site.lot_id], self.now)
        by_passage = {
            str(row["passage"]): row["id"]
            for row in await rows(
                self.db,
                """SELECT s.id, p.id AS passage FROM parking_session s JOIN passage p ON p.session_id = s.id
                   WHERE s.state = 'open'""",
            )
        }
        free_ms = min((one.free_ms for one in served[self.site.lot_id] if isinstance(one, LotEntry)), default=0)
        for entry in served[self.site.lot_id]:
            if isinstance(entry, StayEntry):
                until = entry.paid_until or (entry.entered_at + free_ms if free_ms else 0)
                if until > in_ms(self.now):
                    at = self.now + timedelta(milliseconds=until - in_ms(self.now) - 1)
                    quote = await parking.quote(conn, by_passage[entry.key], at)
                    assert quote.due == 0, (entry, quote, self.done)


async def _coupons(db: Database, site: Site) -> tuple[list[Batch], list[str]]:
    """Coupons of all kinds, and of each batch those codes that are on paper: its first ones."""
    batches: list[Batch] = []
    found: list[str] = []
    async with db.transaction(SYSTEM) as conn:
        merchant = await coupons.create_merchant(conn, site.project_id, "Noodles", "monthly")
        for kind, value in (("hours", 2), ("percentage", 50), ("money", 3), ("free", 0)):
            day = NOON.date()
            new = NewBatch(merchant.id, kind, Decimal(value), Decimal(1), 4, day, day + timedelta(days=90))  # type: ignore[arg-type]
            batch = await coupons.issue(conn, new, "user:1", NOON)
            batches.append(batch)
            found += [one.code for one in (await coupons.list_coupons(conn, PageRequest(2), batch.id)).items]
    return batches, found


@pytest.mark.parametrize("world", range(len(WORLDS)))
async def test_the_books_add_up_and_all_are_told_the_same_price(
    ingest_db: Database, worker_db: Database, site: Site, world: int
) -> None:
    schedule, policy = WORLDS[world]
    if schedule is not None:
        await _publish(worker_db, site, schedule)
    inner = await add_inner_lot(worker_db, site)
    await set_policy(worker_db, site.lot_id, **policy, inner_time="included" if world else "paused")
    await set_policy(worker_db, inner, **policy)
    async with worker_db.transaction(SYSTEM) as conn:
        rule = load_yaml(MALL, ParkingRule)
        await parking.publish_rule(conn, inner, rule, NOON.date())
        money = parking.MoneyPolicy(tax_percent=Decimal(9))
        await parking.set_money_policy(conn, site.project_id, money, public=False)
    history = _History(worker_db, ingest_db, site, Random(f"z{world}"))
    history.batches, history.codes = await _coupons(worker_db, site)
    history.product_id = (await make_product(worker_db, site, "90.00")).id
    history.chance.shuffle(history.codes)
    for _ in range(STEPS):
        await history.step()
        await history.check()
