"""Random histories of corrections: the proof finds nothing, and all bills come to what final facts would have given."""

import random
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.agreements.rents import RentStep
from cloud.billing.concessions.service import NewConcession
from cloud.billing.service import TaxStep
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.periods import day_start
from cloud.payments import service as payments
from tests.integration.billing.late import late
from tests.integration.billing.shop import Shop, make_shop
from tests.integration.billing.site import noon
from tests.integration.billing.test_estimates import read, run
from tests.integration.billing.test_true_up import ALWAYS

MONTHS = [date(2026, n, 1) for n in range(1, 5)]
ENDS = [date(2026, n, 1) for n in range(1, 6)]
SEEDS = 6


class History:
    """One shop, what was done to it, and what is still to come."""

    def __init__(self, shop: Shop, seed: int) -> None:
        self.shop, self.random = shop, random.Random(seed)
        self.used = [self.random.randrange(10_000, 900_000) for _ in MONTHS]
        self.known: set[int] = set()
        self.billed = 0
        self.facts: list[tuple[str, Any]] = []
        self.lease = 0

    def day(self) -> date:
        return MONTHS[0] + timedelta(days=self.random.randrange(1, 119))

    async def learn(self, nth: int) -> None:
        if nth not in self.known:
            self.known.add(nth)
            flat, zone = self.shop.site.flats[0], self.shop.site.project.zone
            await read(self.shop.site, flat, [(day_start(ENDS[nth], zone), 5_000_000 + sum(self.used[:nth]))])

    async def bill(self) -> None:
        if self.billed < len(MONTHS):
            _, why = await run(self.shop.site, MONTHS[self.billed], ALWAYS)
            assert why == {}
            self.billed += 1

    async def fact(self) -> None:
        """Something agreed or filed, of days that may be past."""
        kind, day = self.random.choice(["rent", "tax", "area", "concession"]), self.day()
        amount = Decimal(self.random.randrange(1, 99_999)) / 100
        told: Any = {
            "rent": RentStep(day, amount),
            "tax": TaxStep(day, Decimal(self.random.choice([0, 6, 9, 13])), self.random.random() < 0.5),
            "area": (day, Decimal(self.random.randrange(5_000, 15_000)) / 100),
            "concession": (day, Decimal(self.random.randrange(1, 100)), self.random.random() < 0.5),
        }[kind]
        try:
            await apply(self.shop, self.lease, kind, told)
        except (Conflict, InvalidInput):
            return
        self.facts.append((kind, told))

    async def money(self) -> None:
        """A payment, a note of adjustments or one on a line of a bill, a dispute."""
        db, account = self.shop.site.db, self.shop.account_id
        kind = self.random.choice(["pay", "adjustments", "note", "dispute"])
        bills = [bill for bill in await self.shop.bills() if bill.summary.kind == "bill"]
        try:
            async with db.transaction(SYSTEM) as conn:
                if kind == "pay":
                    await payments.record_payment(conn, account, Decimal(self.random.randrange(1, 99_999)) / 100,
                                                  "cash", MONTHS[-1])  # fmt: skip
                elif kind == "adjustments":
                    note = await billing.note_of_adjustments(conn, account, "asked", by=None)
                    await billing.approve_note(conn, note.id, by=None, now=noon(ENDS[-1]))
                elif bills:
                    await self._about(conn, self.random.choice(bills), kind)
        except Conflict:
            return

    async def _about(self, conn: Any, bill: Any, kind: str) -> None:
        if kind == "dispute":
            await billing.open_dispute(conn, bill.summary.id, "high", by=None, by_resident=False, today=ENDS[-1])
            return
        line = max(bill.lines, key=lambda one: one.amount)
        try:
            part = billing.Part(line.position, min(Decimal("7.77"), line.amount))
            note = await billing.note_of_bill(conn, bill.summary.id, "credit_note", [part], "goodwill", by=None)
            await billing.approve_note(conn, note.id, by=None, now=noon(ENDS[-1]))
        except InvalidInput:
            return


async def apply(shop: Shop, lease: int, kind: str, told: Any) -> None:
    """Agrees on something or files it."""
    if kind == "concession":
        day, percent, rent_only = told
        services = ("rent",) if rent_only else ()
        new = NewConcession("subsidy", f"Aid {day}", "percent", percent, day, None, "form", shop.account_id)
        new = NewConcession(**{name: getattr(new, name) for name in new.__slots__} | {"services": services})
        await shop.concede(new)
        return
    async with shop.site.db.transaction(SYSTEM) as conn:
        if kind == "rent":
            await billing.change_rent(conn, lease, [told])
        elif kind == "tax":
            await billing.change_tax(conn, lease, told)
        else:
            unit = shop.site.flats[0].unit_id
            await billing.file_area(conn, shop.site.project.id, unit, told[0], told[1], "measured")


async def fresh(db: Database) -> tuple[Shop, int]:
    """A shop without water whose meter was read once, and its rent by area."""
    shop = await make_shop(db)
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(
            "DELETE FROM service_agreement WHERE service = 'water' AND project_id = %s", (shop.site.project.id,)
        )
        await billing.set_policy(conn, shop.site.project.id, date(2025, 1, 1), billing.Policy(own_approval=True))
    lease = await shop.rent("80", per_area=True, in_advance=False)
    await read(shop.site, shop.site.flats[0], [(day_start(MONTHS[0], shop.site.project.zone), 5_000_000)])
    return shop, lease


async def standing(shop: Shop) -> dict[tuple[str, date], tuple[Decimal, Decimal]]:
    """Amount and tax of every charge as it stands, by service and month."""
    rows = await shop.site.rows(
        """SELECT c.service, lower(c.period) AS month, coalesce(r.amount, c.amount) AS amount,
                  coalesce((SELECT sum(t.value::numeric) FROM jsonb_each_text(coalesce(r.taxes, c.taxes)) t), 0) AS tax
           FROM charge c JOIN service_agreement s ON s.id = c.agreement_id
           LEFT JOIN LATERAL (SELECT * FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r ON true
           WHERE s.account_id = %s""",
        shop.account_id,
    )
    found: dict[tuple[str, date], tuple[Decimal, Decimal]] = {}
    for row in rows:
        key = row["service"], row["month"].replace(day=1)
        amount, tax = found.get(key, (Decimal(0), Decimal(0)))
        found[key] = (amount + row["amount"], tax + row["tax"])
    return found


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_all_bills_come_to_what_the_final_facts_give(worker_db: Database, seed: int) -> None:
    shop, lease = await fresh(worker_db)
    history = History(shop, seed)
    history.lease = lease
    for _ in range(14):
        step = history.random.choice(["bill", "bill", "learn", "fact", "fact", "rate", "jobs", "money"])
        if step == "learn":
            await history.learn(history.random.randrange(1, len(ENDS)))
        elif step == "rate":
            await late(shop.site)
        elif step == "jobs":
            await shop.work()
        else:
            await {"bill": history.bill, "fact": history.fact, "money": history.money}[step]()
        assert await shop.site.proof() == [], step
    for nth in range(1, len(ENDS)):
        await history.learn(nth)
    await late(shop.site)
    for _ in MONTHS:
        await history.bill()
    await shop.work()
    await late(shop.site)
    found = await standing(shop)
    assert await shop.site.proof() == []
    async with worker_db.transaction(SYSTEM) as conn:
        for cause in ("usage", "terms"):
            assert (await billing.rerate_account(conn, shop.account_id, MONTHS[0], cause=cause)).adjusted == 0
    assert found == await as_from_the_start(worker_db, history)


async def as_from_the_start(db: Database, history: History) -> dict[tuple[str, date], tuple[Decimal, Decimal]]:
    """What the same months come to in another project where everything is known before anything is billed."""
    await history.shop.site.rows("UPDATE project SET code = 'first' RETURNING 1")
    shop, lease = await fresh(db)
    zone, flat = shop.site.project.zone, shop.site.flats[0]
    for nth in range(1, len(ENDS)):
        await read(shop.site, flat, [(day_start(ENDS[nth], zone), 5_000_000 + sum(history.used[:nth]))])
    for kind, told in history.facts:
        await apply(shop, lease, kind, told)
    for month in MONTHS:
        _, why = await run(shop.site, month, ALWAYS)
        assert why == {}
    return await standing(shop)
