"""Months of bills, payments, late fees and money paid in advance: whatever comes, the accounts agree to the cent."""

from collections import defaultdict
from datetime import date, timedelta
from decimal import Decimal
from random import Random

import pytest
from beancount import loader
from beancount.core.data import Transaction

from cloud.billing import service as billing
from cloud.billing.arrears.late_fees import LateFeeRule
from cloud.billing.ledger import balances
from cloud.billing.ledger import months as accounting_months
from cloud.billing.ledger.accounts import known_accounts
from cloud.billing.ledger.tables import every
from cloud.billing.service import Policy
from cloud.billing.vouchers import exports as voucher_exports
from cloud.billing.vouchers.exports import VoucherExport
from cloud.billing.vouchers.layouts import Layout
from cloud.billing.vouchers.making import Grouping
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period, next_month
from cloud.payments import service as payments
from tests.integration.billing.site import SINCE, Site, make_site, noon

MONTHS = 5
Sums = dict[str, Decimal]


async def _live(site: Site, random: Random) -> None:
    """Bills of every month, payments in between of any size and day, months closed some time after they ended."""
    day = SINCE
    for _ in range(MONTHS):
        await site.run(day, noon(next_month(day)))
        day = next_month(day)
        for _ in range(random.randrange(2, 7)):
            flat = random.choice(site.flats)
            paid_on = day + timedelta(days=random.randrange(-45, 27))
            amount = Decimal(random.randrange(1, 80_000)) / 100
            async with site.db.transaction(SYSTEM) as conn:
                await billing.refresh_late_fees(conn, site.project.id, paid_on)
                method = random.choice(payments.METHODS)
                await payments.record_payment(conn, flat.account_id, amount, method, paid_on)
        if random.random() < 0.8:
            await _close_next(site, day)
        await _agrees(site)


async def _close_next(site: Site, today: date) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        last = await accounting_months.last_closed(conn, site.project.id)
        month = SINCE if last is None else next_month(last.month)
        if next_month(month) <= today:
            await accounting_months.close_month(conn, site.project.id, month, now=noon(today))


async def _agrees(site: Site) -> None:
    assert await site.proof() == []
    bills = await site.bills()
    async with site.db.transaction(SYSTEM) as conn:
        whole = await balances.trial_balance(conn, site.project.id, Period(SINCE, date(2027, 1, 1)))
        assert whole.total.opening == whole.total.closing == 0
        assert whole.total.debit == whole.total.credit
        aged = await every(
            lambda page: balances.receivables_by_age(conn, page, site.project.id, date(2026, 12, 31)),
        )
        owed = {one.account_id: one.total for one in aged}
        for flat in site.flats:
            open_ = sum((bill.open for bill in bills if bill.account_id == flat.account_id), Decimal(0))
            for code, expected in (
                ("receivable", open_),
                ("liability:prepaid", -await billing.prepaid_balance(conn, flat.account_id)),
            ):
                entries = await every(
                    lambda page, code=code, flat=flat: balances.statement(  # type: ignore[misc]
                        conn, page, flat.account_id, ledger_account=code
                    ),
                    key_length=2,
                )
                assert (entries[-1].balance if entries else Decimal(0)) == expected
                assert sum(entry.amount for entry in entries) == expected
            assert owed.get(flat.account_id, Decimal(0)) == open_


async def _export(site: Site, month: date, layout: Layout, grouping: Grouping) -> tuple[VoucherExport, bytes]:
    async with site.db.transaction(SYSTEM) as conn:
        made = await voucher_exports.export_vouchers(conn, site.project.id, month, layout, None, grouping)
        return made, await voucher_exports.content(conn, made.id)


async def _exported(site: Site, grouping: Grouping) -> Sums:
    """Balances of all months by the number of the account, as Beancount adds them up."""
    sums: Sums = defaultdict(Decimal)
    for month in await _booked_months(site):
        made, content = await _export(site, month, "beancount", grouping)
        again, same = await _export(site, month, "beancount", grouping)
        assert (again.sha256, same) == (made.sha256, content)
        entries, errors, _ = loader.load_string(content.decode())
        assert errors == []
        transactions = [entry for entry in entries if isinstance(entry, Transaction)]
        assert len(transactions) == made.vouchers
        for entry in transactions:
            assert entry.date.replace(day=1) == month
            for posting in entry.postings:
                assert posting.units is not None
                assert posting.units.number is not None
                sums[posting.account.split(":")[1]] += posting.units.number
    return sums


async def _booked_months(site: Site) -> list[date]:
    return [
        row["month"]
        for row in await site.rows("SELECT DISTINCT date_trunc('month', booked_on)::date AS month FROM journal")
    ]


async def _history(db: Database, seed: int) -> Site:
    """Three flats with random usage; late fees of a hundredth a day from the third day on."""
    random = Random(seed)
    site = await make_site(db, 3)
    policy = Policy(due_days=10, late_fee=LateFeeRule(Decimal("0.01"), grace_days=2))
    async with db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, site.project.id, SINCE, policy)
    for flat in site.flats:
        await site.read(flat, "electricity", [random.randrange(400_000) for _ in range(MONTHS)])
        await site.read(flat, "water", [random.randrange(30_000_000) for _ in range(MONTHS)])
    await _live(site, random)
    return site


@pytest.mark.parametrize("seed", range(4))
async def test_the_accounts_agree_whatever_happens(worker_db: Database, seed: int) -> None:
    site = await _history(worker_db, seed)
    async with site.db.transaction(SYSTEM) as conn:
        whole = await balances.trial_balance(conn, site.project.id, Period(SINCE, date(2026, 7, 1)))
        known = await known_accounts(conn, site.project.id, [one.ledger_account for one in whole.accounts])
    ours: Sums = defaultdict(Decimal)
    for one in whole.accounts:
        account = known[one.ledger_account]
        assert account is not None
        ours[account.code] += one.closing
    assert await _exported(site, "day") == ours
    assert await _exported(site, "journal") == ours


async def test_some_history_has_late_fees_and_money_in_advance_and_late_bookings(worker_db: Database) -> None:
    """The histories above are worth something: what is rare happens in one of them."""
    site = await _history(worker_db, 0)
    booked = await site.rows("SELECT DISTINCT ledger_account FROM posting")
    assert {"revenue:late_fee", "liability:prepaid"} <= {row["ledger_account"] for row in booked}
    assert await site.rows("SELECT id FROM journal WHERE occurred_on < booked_on")
