"""The nightly proof compares what charges, corrections and notes say is tax with the accounts `tax:*`."""

from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.billing import service as billing
from cloud.billing.ledger import proof
from cloud.billing.service import TaxStep
from cloud.kit.db import SYSTEM, Database
from tests.integration.billing.shop import make_shop
from tests.integration.billing.test_notes_and_rerating import ALONE, JANUARY, note

FEBRUARY = date(2026, 2, 1)
# The statement, and what is found by how much.
PLANTED: list[tuple[LiteralString, set[tuple[str, str]]]] = [
    (  # a charge says otherwise than what was booked
        """UPDATE charge SET taxes = '{"vat": "1.00"}' WHERE service = 'water'""",
        {("bill-tax", "-0.62")},
    ),
    (  # a tax was booked as revenue
        """UPDATE posting SET ledger_account = 'revenue:rent' WHERE ledger_account = 'tax:vat'
           AND journal_id IN (SELECT id FROM journal WHERE kind = 'bill')""",
        {("bill-tax", "-114.71")},
    ),
    (  # the tax of a note by hand was
        """UPDATE posting SET ledger_account = 'revenue:water' WHERE ledger_account = 'tax:vat'
           AND journal_id IN (SELECT id FROM journal WHERE kind = 'credit_note')""",
        {("bill-tax", "0.15")},
    ),
    (  # another tax
        """UPDATE posting SET ledger_account = 'tax:other' WHERE ledger_account = 'tax:vat'
           AND journal_id IN (SELECT id FROM journal WHERE kind = 'credit_note')""",
        {("bill-tax", "0.15"), ("bill-tax", "-0.15")},
    ),
    (  # a correction that came to nothing was never told to the ledger
        """WITH gone AS (DELETE FROM posting WHERE journal_id IN (SELECT id FROM journal WHERE kind = 'tax_adjusted')
                         RETURNING journal_id)
           DELETE FROM journal WHERE id IN (SELECT journal_id FROM gone)""",
        {("correction-tax", "90.00")},
    ),
    (
        "UPDATE journal SET source = 'parking_payment' WHERE kind = 'tax_adjusted'",
        {("correction-tax", "90.00"), ("tax", "-90.00")},
    ),
]


async def test_every_planted_error_of_tax_is_found(worker_db: Database, owner_db: Database) -> None:
    shop = await make_shop(worker_db)
    project_id = shop.site.project.id
    await shop.read("electricity", [(JANUARY, FEBRUARY, 50_000)])
    await shop.read("water", [(JANUARY, FEBRUARY, 3_000_000)])
    async with worker_db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, project_id, date(2025, 1, 1), ALONE)
    lease = await shop.rent("1090", in_advance=False, taxes=(TaxStep(JANUARY, Decimal(9), inclusive=True),))
    await shop.site.run(JANUARY)
    (bill,) = await shop.bills()
    water = next(line for line in bill.lines if line.service == "water")
    await note(shop.site, bill.summary.id, "5.00", "goodwill", water.position)
    async with worker_db.transaction(SYSTEM) as conn:
        await billing.change_tax(conn, lease, TaxStep(JANUARY, Decimal(0), inclusive=True))
    async with owner_db.transaction(SYSTEM) as conn, conn.transaction(force_rollback=True):
        for table in ("posting", "journal", "charge"):
            await conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        assert await proof.discrepancies(conn, project_id) == []
        for statement, expected in PLANTED:
            async with conn.transaction(force_rollback=True):
                assert (await conn.execute(statement)).rowcount > 0, statement
                found = await proof.discrepancies(conn, project_id)
            assert {(one.what, f"{one.found - one.expected:.2f}") for one in found} == expected, statement
