"""Notes by hand and re-rating of the same charge: nothing is given back twice, gifts stay, and tax follows."""

import random
from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.counting import NoteCause
from cloud.billing.corrections.notes import Part
from cloud.billing.records import BillRow
from cloud.billing.service import TaxStep
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.paging import PageRequest
from tests.integration.billing.late import count_otherwise, late
from tests.integration.billing.shop import Shop, make_shop
from tests.integration.billing.site import Site, make_site, noon
from tests.integration.billing.test_corrections_across_features import booked
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH, APRIL, MAY = (date(2026, month, 1) for month in range(1, 6))
MONTHS = (JANUARY, FEBRUARY, MARCH)
ALONE = billing.Policy(own_approval=True)
CHARGED = Decimal("146.73")
"""January of a flat: 300.5 kWh at 0.4883."""


@world
async def site_world(db: Database) -> Site:
    """A flat that pays for electricity; January is billed."""
    made = await make_site(db, 1, services=("electricity",))
    await made.read(made.flats[0], "electricity", [300_500, 250_000, 100_000])
    async with db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, made.project.id, date(2025, 1, 1), ALONE)
    await made.run(JANUARY)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def ask(site: Site, bill_id: int, amount: str | Decimal, cause: NoteCause, position: int = 1) -> BillRow:
    """A credit note that waits for approval."""
    async with site.db.transaction(SYSTEM) as conn:
        part = Part(position, Decimal(amount))
        return await billing.note_of_bill(conn, bill_id, "credit_note", [part], "why", cause, by=None)


async def approve(site: Site, note: BillRow) -> BillRow:
    async with site.db.transaction(SYSTEM) as conn:
        return await billing.approve_note(conn, note.id, by=None, now=noon(MAY))


async def note(site: Site, bill_id: int, amount: str | Decimal, cause: NoteCause, position: int = 1) -> BillRow:
    return await approve(site, await ask(site, bill_id, amount, cause, position))


async def nets(site: Site) -> list[Decimal]:
    """What every charge comes to on all documents, and on the corrections that wait for one; by charge."""
    rows = await site.rows(
        """SELECT sum(amount) AS net
           FROM (SELECT l.charge_id, l.amount FROM bill_line l JOIN bill b ON b.id = l.bill_id WHERE b.state <> 'draft'
                 UNION ALL
                 SELECT charge_id, difference FROM adjustment a
                 WHERE NOT EXISTS (SELECT FROM billed_adjustment d WHERE d.adjustment_id = a.id)) AS part
           GROUP BY charge_id ORDER BY charge_id"""
    )
    return [row["net"] for row in rows]


async def rights(site: Site) -> list[Decimal]:
    """What every charge should be by its latest revision."""
    rows = await site.rows(
        """SELECT coalesce((SELECT amount FROM adjustment a WHERE a.charge_id = c.id ORDER BY revision DESC LIMIT 1),
                           c.amount) AS amount FROM charge c ORDER BY c.id"""
    )
    return [row["amount"] for row in rows]


async def january(site: Site) -> BillRow:
    return (await site.bills())[0]


async def test_a_re_rating_counts_a_note_about_an_error(site: Site) -> None:
    await note(site, (await january(site)).id, "97.90", "error")
    await count_otherwise(site, site.flats[0], JANUARY, -200_500)
    assert (await late(site)).adjusted == 1
    assert await nets(site) == [Decimal("48.83")]
    (row,) = await site.rows("SELECT difference, counted FROM adjustment")
    assert row == {"difference": Decimal("0.00"), "counted": Decimal("97.90")}
    await site.run(FEBRUARY)
    assert (await site.bills())[-1].total == Decimal("122.08")
    await count_otherwise(site, site.flats[0], JANUARY, 100_000)
    await late(site)
    assert (await nets(site))[0] == Decimal("97.66")
    assert await site.proof() == []


async def test_a_gift_stays_but_is_never_more_than_the_charge(site: Site) -> None:
    bill = await january(site)
    await note(site, bill.id, "100", "goodwill")
    await count_otherwise(site, site.flats[0], JANUARY, -200_500)
    await late(site)
    assert await nets(site) == [0]
    await site.run(FEBRUARY)
    (line, said) = (await _bill(site)).corrections
    assert (line.amount, said.amount, said.detail["of"]) == (Decimal("-97.90"), Decimal("51.17"), "note")
    assert said.detail["notes"] == ["C2026-000001"]
    await count_otherwise(site, site.flats[0], JANUARY, 200_500)
    await late(site)
    assert (await nets(site))[0] == CHARGED - 100
    assert await site.proof() == []


async def _bill(site: Site) -> Any:
    async with site.db.transaction(SYSTEM) as conn:
        return await billing.get_bill(conn, (await site.bills())[-1].id)


async def test_a_note_takes_no_more_than_a_correction_has_left(site: Site) -> None:
    bill = await january(site)
    waiting = await ask(site, bill.id, "100", "goodwill")
    await count_otherwise(site, site.flats[0], JANUARY, -200_500)
    await late(site)
    with pytest.raises(InvalidInput) as refused:
        await ask(site, bill.id, "0.01", "goodwill")
    assert refused.value.code == "amount-too-large"
    with pytest.raises(Conflict) as changed:
        await approve(site, waiting)
    assert changed.value.code == "amount-changed"
    async with site.db.transaction(SYSTEM) as conn:
        (line,) = await billing.creditable(conn, bill.id)
        assert line.left == 0
        await billing.cancel_note(conn, waiting.id, "corrected already", by=None)
        (line,) = await billing.creditable(conn, bill.id)
        assert line.left == Decimal("48.83")
        with pytest.raises(InvalidInput) as wrong:
            await billing.note_of_bill(conn, bill.id, "debit_note", [Part(1, Decimal(1))], "why", "goodwill", by=None)
        assert wrong.value.code == "bad-cause"
    (kept,) = await site.rows("SELECT note_id, total, reason, asked_for FROM note_refusal")
    assert kept == {"note_id": waiting.id, "total": Decimal("-100.00"), "reason": "corrected already",
                    "asked_for": "why"}  # fmt: skip


class Troubled:
    """A random history of one flat."""

    def __init__(self, site: Site, seed: int) -> None:
        self.site, self.flat = site, site.flats[0]
        self.random = random.Random(seed)
        self.used = {JANUARY: 300_500, FEBRUARY: 250_000, MARCH: 100_000}
        self.billed = 1

    async def bill(self) -> None:
        if self.billed < len(MONTHS):
            await self.site.run(MONTHS[self.billed], noon(MAY))
            self.billed += 1

    async def count(self) -> None:
        month = self.random.choice(MONTHS)
        more = self.random.randrange(-self.used[month], 400_000)
        self.used[month] += more
        await count_otherwise(self.site, self.flat, month, more)

    async def note(self) -> None:
        bills = [bill for bill in await self.site.bills() if bill.kind == "bill"]
        bill = self.random.choice(bills)
        async with self.site.db.transaction(SYSTEM) as conn:
            one = self.random.choice(await billing.creditable(conn, bill.id))
            kind: billing.NoteKind = self.random.choice(["credit_note", "credit_note", "credit_note", "debit_note"])
            cause: NoteCause = self.random.choice(["error", "goodwill"]) if kind == "credit_note" else "error"
            most = one.left if kind == "credit_note" else Decimal(50)
            amount = round(most * self.random.randrange(1, 101) / 100, 2)
            if amount:
                parts = [Part(one.line.position, amount)]
                made = await billing.note_of_bill(conn, bill.id, kind, parts, "why", cause, by=None)
                await billing.approve_note(conn, made.id, by=None, now=noon(MAY))


@pytest.mark.parametrize("seed", range(6))
async def test_any_history_of_notes_and_late_readings_stays_within_what_was_charged(site: Site, seed: int) -> None:
    history = Troubled(site, seed)
    for _ in range(12):
        step = history.random.choice(["bill", "count", "count", "late", "late", "note", "note", "note"])
        if step == "late":
            before = await rights(site)
            await late(site)
            gifts = await _gifts(site)
            for was, now, net, given in zip(before, await rights(site), await nets(site), gifts, strict=True):
                assert was == now or net == max(now - given, Decimal(0))
        else:
            await {"bill": history.bill, "count": history.count, "note": history.note}[step]()
        assert min(await nets(site)) >= 0, step
        assert await site.proof() == [], step


async def _gifts(site: Site) -> list[Decimal]:
    rows = await site.rows(
        """SELECT coalesce((SELECT -sum(l.amount) FROM bill_line l JOIN bill b ON b.id = l.bill_id
                            WHERE l.charge_id = c.id AND b.inputs -> 'note' ->> 'cause' = 'goodwill'), 0) AS given
           FROM charge c ORDER BY c.id"""
    )
    return [row["given"] for row in rows]


@pytest.fixture
async def shop(worker_db: Database) -> Shop:
    """A shop with usage of January and February: its water contains 3 % VAT, its electricity bears 13 % on top."""
    made = await make_shop(worker_db)
    await made.read("electricity", [(JANUARY, FEBRUARY, 50_000), (FEBRUARY, MARCH, 100_000)])
    await made.read("water", [(JANUARY, FEBRUARY, 3_000_000), (FEBRUARY, MARCH, 3_000_000)])
    async with worker_db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, made.site.project.id, date(2025, 1, 1), ALONE)
    return made


async def test_a_note_by_hand_moves_the_tax_that_the_charge_contains(shop: Shop) -> None:
    await shop.site.run(JANUARY)
    (bill,) = await shop.bills()
    water = next(line for line in bill.lines if line.service == "water")
    power = next(line for line in bill.lines if line.service == "electricity" and line.kind == "usage")
    contained = Decimal("0.38")  # 13.05 x 3 / 103
    before, revenue = await booked(shop, "tax:vat"), await booked(shop, "revenue:water")
    await note(shop.site, bill.summary.id, "5.00", "goodwill", water.position)
    assert await booked(shop, "tax:vat") == before - Decimal("0.15")
    assert await booked(shop, "revenue:water") == revenue - Decimal("4.85")
    await note(shop.site, bill.summary.id, water.amount - 5, "goodwill", water.position)
    assert await booked(shop, "tax:vat") == before - contained
    assert await booked(shop, "revenue:water") == 0
    # A tax on top has a line of its own: who takes off the price names it too.
    await note(shop.site, bill.summary.id, "10.00", "goodwill", power.position)
    assert await booked(shop, "tax:vat") == before - contained
    assert await shop.site.proof() == []


async def test_a_debit_note_bears_the_tax_of_its_charge(shop: Shop) -> None:
    await shop.site.run(JANUARY)
    (bill,) = await shop.bills()
    water = next(line for line in bill.lines if line.service == "water")
    before = await booked(shop, "tax:vat")
    async with shop.site.db.transaction(SYSTEM) as conn:
        parts = [Part(water.position, Decimal("10.30"))]
        made = await billing.note_of_bill(conn, bill.summary.id, "debit_note", parts, "more was used", by=None)
        await billing.approve_note(conn, made.id, by=None, now=noon(MARCH))
    assert await booked(shop, "tax:vat") == before + Decimal("0.30")
    assert await shop.site.proof() == []


async def test_a_tax_that_changes_after_the_final_bill_is_booked_without_one(shop: Shop) -> None:
    lease = await shop.rent("1090", in_advance=False, taxes=(TaxStep(JANUARY, Decimal(9), inclusive=True),))
    await shop.final_bill(FEBRUARY)
    before, rent = await booked(shop, "tax:vat"), await booked(shop, "revenue:rent")
    async with shop.site.db.transaction(SYSTEM) as conn:
        await billing.change_tax(conn, lease, TaxStep(JANUARY, Decimal(0), inclusive=True))
    assert await booked(shop, "tax:vat") == before - 90
    assert await booked(shop, "revenue:rent") == rent + 90
    async with shop.site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict) as nothing:
            await billing.note_of_adjustments(conn, shop.account_id, "tax", by=None)
    assert nothing.value.code == "nothing-to-adjust"
    states = [one.state for one in await _adjustments(shop)]
    assert states == ["none"]
    assert await shop.site.proof() == []


async def _adjustments(shop: Shop) -> list[billing.Adjustment]:
    async with shop.site.db.transaction(SYSTEM) as conn:
        wanted = billing.AdjustmentFilter(shop.site.project.id)
        return list((await billing.list_adjustments(conn, PageRequest(50), wanted)).items)
