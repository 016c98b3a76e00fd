"""Money received: what it settles, what it costs to be late, and that the ledger agrees at every step."""

import asyncio
from datetime import date
from decimal import Decimal

import psycopg
import pytest

from cloud.billing import service as billing
from cloud.billing.arrears.late_fees import LateFeeRule
from cloud.billing.jobs import HANDLERS, LATE_FEES_JOB, PROOF_JOB, LedgerDoesNotBalance
from cloud.billing.service import Policy
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.jobs import JobContext
from cloud.kit.periods import Period
from cloud.payments import service as payments
from cloud.payments.service import RecordedPayment
from tests.integration.billing.site import Site, make_site, noon
from tests.worlds import World, world

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
FEE = Decimal("210.33")
"""The property fee of a flat for a month: the only charge of these bills, due on 16 February and 16 March."""


@world
async def site_world(db: Database) -> Site:
    """Two flats with the bills of January and February; late fees of one per mille a day, at most a tenth."""
    made = await make_site(db, services=("property",))
    async with db.transaction(SYSTEM) as conn:
        rule = LateFeeRule(daily_rate=Decimal("0.001"), cap_share=Decimal("0.1"))
        await billing.set_policy(conn, made.project.id, date(2025, 1, 1), Policy(due_days=15, late_fee=rule))
    await made.run(JANUARY)
    await made.run(FEBRUARY)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _pay(site: Site, amount: str, paid_on: date, flat: int = 0) -> RecordedPayment:
    async with site.db.transaction(SYSTEM) as conn:
        account_id = site.flats[flat].account_id
        return await payments.record_payment(conn, account_id, Decimal(amount), "cash", paid_on, "receipt 7", 1)


async def _late_fees(site: Site, today: date) -> int:
    async with site.db.transaction(SYSTEM) as conn:
        return await billing.refresh_late_fees(conn, site.project.id, today)


async def _balance(site: Site) -> Decimal:
    async with site.db.transaction(SYSTEM) as conn:
        return await billing.prepaid_balance(conn, site.flats[0].account_id)


async def test_the_oldest_bill_is_settled_first(site: Site) -> None:
    first, second = await site.bills(account_id=site.flats[0].account_id)
    done = await _pay(site, "300.00", date(2026, 2, 10))
    assert [(part.bill_id, part.principal) for part in done.settlement.allocations] == [
        (first.id, FEE),
        (second.id, Decimal("89.67")),
    ]
    first, second = await site.bills(account_id=site.flats[0].account_id)
    assert (first.state, first.settled_on, first.open) == ("paid", date(2026, 2, 10), Decimal(0))
    assert (second.state, second.open) == ("issued", Decimal("120.66"))
    assert await site.proof() == []


async def test_what_is_left_over_stays_as_a_balance(site: Site) -> None:
    done = await _pay(site, "500.00", date(2026, 2, 10))
    assert done.settlement.surplus == Decimal("79.34")
    assert await _balance(site) == Decimal("79.34")
    assert [bill.state for bill in await site.bills(account_id=site.flats[0].account_id)] == ["paid", "paid"]
    more = await _pay(site, "1.00", date(2026, 2, 11))
    assert (more.settlement.allocations, await _balance(site)) == ((), Decimal("80.34"))
    assert await site.proof() == []


async def test_late_fees_grow_daily_and_are_derived_from_scratch(site: Site) -> None:
    assert await _late_fees(site, date(2026, 2, 16)) == 0
    for _ in range(2):
        assert await _late_fees(site, date(2026, 2, 26)) == 2
        fees = [bill.late_fee for bill in await site.bills(account_id=site.flats[0].account_id)]
        assert fees == [Decimal("2.10"), 0]
    await _late_fees(site, date(2027, 2, 26))
    assert [bill.late_fee for bill in await site.bills()] == [Decimal("21.03")] * 4


async def test_a_late_fee_comes_after_all_principal_and_stops_on_the_day_of_payment(site: Site) -> None:
    await _late_fees(site, date(2026, 3, 28))
    done = await _pay(site, "421.00", date(2026, 2, 26))
    first, second = await site.bills(account_id=site.flats[0].account_id)
    assert [(part.bill_id, part.principal, part.late_fee) for part in done.settlement.allocations] == [
        (first.id, FEE, Decimal("0.34")),
        (second.id, FEE, Decimal(0)),
    ]
    assert (first.state, first.late_fee, first.late_fee_open) == ("paid", Decimal("2.10"), Decimal("1.76"))
    await _late_fees(site, date(2026, 6, 1))
    first, second = await site.bills(account_id=site.flats[0].account_id)
    assert (first.late_fee, second.late_fee) == (Decimal("2.10"), Decimal(0))
    rest = await _pay(site, "2.00", date(2026, 3, 1))
    assert (rest.settlement.allocations[0].late_fee, rest.settlement.surplus) == (Decimal("1.76"), Decimal("0.24"))
    revenue = await site.rows("SELECT -sum(amount) AS fees FROM posting WHERE ledger_account = 'revenue:late_fee'")
    assert revenue == [{"fees": Decimal("2.10")}]
    assert await site.proof() == []


async def test_a_partial_payment_lowers_the_base(site: Site) -> None:
    await _pay(site, "110.33", date(2026, 2, 26))
    await _late_fees(site, date(2026, 3, 8))
    bill = (await site.bills(account_id=site.flats[0].account_id))[0]
    async with site.db.transaction(SYSTEM) as conn:
        late_fee = (await billing.get_bill(conn, bill.id)).late_fee
    assert late_fee is not None
    assert [(step["days"], step["principal"]) for step in late_fee.steps] == [(10, "210.33"), (10, "100.00")]
    assert late_fee.amount == Decimal("3.10")


async def test_two_payments_at_once_settle_a_bill_once(site: Site) -> None:
    await asyncio.gather(*(_pay(site, "210.33", date(2026, 2, 10)) for _ in range(4)))
    allocated = await site.rows("SELECT sum(principal) AS principal FROM payment_allocation")
    assert allocated == [{"principal": 2 * FEE}]
    assert await _balance(site) == 2 * FEE
    assert await site.proof() == []


async def test_money_for_parking_is_booked_as_its_revenue(site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        payment_id = await payments.record(
            conn,
            site.project.id,
            purpose="parking",
            method="wechat",
            amount=Decimal("5.00"),
            currency="CNY",
            paid_on=date(2026, 2, 1),
        )
    postings = await site.rows(
        """SELECT ledger_account, amount FROM posting JOIN journal ON journal.id = journal_id
           WHERE source = 'payment' AND source_id = %s ORDER BY amount""",
        payment_id,
    )
    assert [tuple(row.values()) for row in postings] == [
        ("revenue:parking", Decimal("-5.00")),
        ("cash:wechat", Decimal("5.00")),
    ]


async def test_refuses_what_is_no_payment(site: Site) -> None:
    for amount, method, paid_on, field in (
        ("0", "cash", date(2026, 2, 1), "amount"),
        ("-1", "cash", date(2026, 2, 1), "amount"),
        ("1.001", "cash", date(2026, 2, 1), "amount"),
        ("NaN", "cash", date(2026, 2, 1), "amount"),
        ("1", "promise", date(2026, 2, 1), "method"),
        ("1", "cash", date(2999, 2, 1), "paid_on"),
    ):
        async with site.db.transaction(SYSTEM) as conn:
            with pytest.raises(InvalidInput) as error:
                await payments.record_payment(conn, site.flats[0].account_id, Decimal(amount), method, paid_on)
        assert error.value.field == field, (amount, method, paid_on)
    assert await site.rows("SELECT FROM payment") == []


async def test_an_unknown_account_pays_nothing(site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        with pytest.raises(NotFound):
            await payments.record_payment(conn, 999_999, Decimal(1), "cash", date(2026, 2, 1))


async def test_the_totals_of_a_month(site: Site) -> None:
    await _pay(site, "100.00", date(2026, 2, 10))
    async with site.db.transaction(SYSTEM) as conn:
        totals = await billing.month_totals(
            conn, site.project.id, Period(FEBRUARY, date(2026, 3, 1)), now=noon(date(2026, 2, 20))
        )
    assert (totals.billed, totals.collected, totals.currency) == (2 * FEE, Decimal(100), "CNY")
    assert (totals.open, totals.overdue) == (4 * FEE - 100, 2 * FEE - 100)


async def _job(site: Site, kind: str) -> dict[str, object] | None:
    return await HANDLERS[kind](JobContext(1, None, {}, site.db))


async def test_the_daily_jobs_derive_fees_and_prove_the_ledger(site: Site) -> None:
    assert await _job(site, LATE_FEES_JOB) == {"bills": 4, "broken_plans": 0}
    assert await _job(site, PROOF_JOB) == {"projects": 1}


async def test_a_ledger_that_disagrees_is_reported_loudly(site: Site, owner_dsn: str) -> None:
    with psycopg.connect(owner_dsn) as owner:
        owner.execute("ALTER TABLE posting DISABLE TRIGGER USER")
        owner.execute("UPDATE posting SET amount = amount + 1 WHERE ledger_account = 'receivable' AND account_id = 1")
    with pytest.raises(LedgerDoesNotBalance, match=r"receivable 1: expected 420\.66, found 422\.66"):
        await _job(site, PROOF_JOB)
