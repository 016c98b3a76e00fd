"""Balances of many accounts pay at once exactly what each would pay alone, whatever the accounts are like."""

from datetime import date
from decimal import Decimal
from random import Random

import pytest

from cloud.billing import service as billing
from cloud.billing.service import Policy
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.payments import service as payments
from tests.integration.payments.owing import FEBRUARY, FEE, JANUARY, RULE, Owing, make_owing

FLATS = 8
TODAY = date(2026, 3, 20)
Outcome = dict[str, list[tuple[object, ...]]]


async def _various(owing: Owing, random: Random, conn: Conn) -> None:
    """Bills that are paid in part, disputed in whole or part, late; balances of any size, or switched off."""
    for flat in owing.site.flats:
        bills = await owing.site.bills(account_id=flat.account_id)
        if random.random() < 0.3:
            await payments.record_payment(conn, flat.account_id, Decimal(random.randrange(1, 30_000)) / 100, "cash",
                                          date(2026, 3, 2))  # fmt: skip
        if random.random() < 0.3:
            disputed = random.choice([None, Decimal("50.00")])
            await billing.open_dispute(
                conn, bills[-1].id, "too much", disputed, by=None, by_resident=False, today=date(2026, 3, 5)
            )
        if random.random() < 0.3:
            await billing.set_auto_deduct(conn, owing.site.project.id, flat.account_id, False)
        if random.random() < 0.8:
            amount = random.choice([FEE, FEE * 3, Decimal(random.randrange(1, 60_000)) / 100])
            await payments.record_payment(conn, flat.account_id, amount, "wechat", date(2026, 3, 4), purpose="balance")


async def _outcome(conn: Conn) -> Outcome:
    found: Outcome = {}
    for name, query in (
        ("bills", "SELECT id, state, settled_on FROM bill ORDER BY id"),
        ("set-offs", "SELECT account_id, source, amount, set_off_on FROM set_off ORDER BY account_id"),
        (
            "allocations",
            """SELECT s.account_id, a.bill_id, a.paid_on, a.principal, a.late_fee
               FROM payment_allocation a JOIN set_off s ON s.id = a.set_off_id ORDER BY 1, 2""",
        ),
        (
            "postings",
            """SELECT s.account_id, p.account_id AS whose, p.ledger_account, p.amount, j.booked_on
               FROM posting p JOIN journal j ON j.id = p.journal_id AND j.kind = 'set-off'
               JOIN set_off s ON s.id = j.source_id ORDER BY 1, 3""",
        ),
        ("late fees", "SELECT bill_id, amount, through FROM late_fee ORDER BY bill_id"),
    ):
        found[name] = [tuple(row.values()) for row in await (await conn.execute(query)).fetchall()]
    return found


@pytest.mark.parametrize("seed", range(3))
async def test_many_at_once_pay_what_each_pays_alone(worker_db: Database, seed: int) -> None:
    random = Random(seed)
    owing = await make_owing(worker_db, Policy(due_days=15, late_fee=RULE), (JANUARY, FEBRUARY), flats=FLATS)
    accounts = [flat.account_id for flat in owing.site.flats]
    async with worker_db.transaction(SYSTEM) as conn:
        await _various(owing, random, conn)
    outcomes = []
    for groups in ([accounts], [[one] for one in accounts]):
        async with worker_db.transaction(SYSTEM) as conn, conn.transaction(force_rollback=True):
            for group in groups:
                await billing.deduct(conn, owing.site.project, group, TODAY)
            outcomes.append(await _outcome(conn))
    together, alone = outcomes
    assert together == alone
    assert together["set-offs"]
