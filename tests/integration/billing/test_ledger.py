"""The ledger in the database: what it refuses, closed months, proofs, balances."""

import asyncio
from datetime import UTC, date, datetime
from decimal import Decimal
from string import ascii_uppercase
from typing import LiteralString

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.ledger import balances, proof
from cloud.billing.ledger import months as accounting_months
from cloud.billing.ledger.balances import AGES, Aged
from cloud.billing.ledger.journals import Journal, Posting
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput
from cloud.kit.jobs import JobContext
from cloud.kit.money import minor_digits
from cloud.kit.paging import PageRequest, page_request
from cloud.kit.periods import Period
from cloud.kit.security import Keys, Sealer
from cloud.kit.yaml_files import load_yaml
from cloud.payments import service as payments
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.site import JANUARY_USAGE, TARIFFS, Site, make_site
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH = (date(2026, month, 1) for month in (1, 2, 3))
TOTAL = Decimal("319.16")
_JOURNAL: LiteralString = """
    INSERT INTO journal (project_id, kind, booked_on, source, source_id, currency)
    VALUES (%s, 'test', %s, 'test', 9, %s) RETURNING id
"""
_POSTING: LiteralString = """
    INSERT INTO posting (project_id, journal_id, ledger_account, amount)
    SELECT %s, %s, 'test', amount FROM unnest(%s::numeric[]) AS amount
"""


@world
async def site_world(db: Database) -> Site:
    """Two flats, billed for January on 1 February: 319.16 each, due on 16 February."""
    made = await make_site(db)
    for flat in made.flats:
        for medium, quantity in JANUARY_USAGE.items():
            await made.read(flat, medium, [quantity])
    await made.run(JANUARY)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _execute(db: Database, *statements: LiteralString) -> None:
    async with db.transaction(SYSTEM) as conn:
        for statement in statements:
            await conn.execute(statement)


async def _write(
    db: Database,
    project_id: int,
    amounts: list[str],
    currency: str,
    *after: LiteralString,
    day: date = date(2026, 2, 1),
) -> None:
    """A journal and its postings, past `book`."""
    async with db.transaction(SYSTEM) as conn:
        row = await (await conn.execute(_JOURNAL, (project_id, day, currency))).fetchone()
        assert row is not None
        async with conn.transaction():  # a savepoint is no other transaction
            await conn.execute(_POSTING, (project_id, row["id"], amounts))
        for statement in after:
            await conn.execute(statement)


async def _append(site: Site, journal_id: int) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute(_POSTING, (site.project.id, journal_id, [1, -1]))


async def _pay(site: Site, flat: int, amount: str, day: date) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        await payments.record_payment(conn, site.flats[flat].account_id, Decimal(amount), "wechat", day)


def _journal(site: Site, n: int, day: date, *amounts: str, currency: str = "CNY") -> Journal:
    sides = tuple(Posting(f"test:{nth}", Decimal(amount)) for nth, amount in enumerate(amounts))
    return Journal(site.project.id, "refund", day, "test", n, currency, sides)


@pytest.mark.parametrize("change", [
    "UPDATE posting SET amount = amount + 1", "DELETE FROM posting", "TRUNCATE posting",
    "UPDATE journal SET booked_on = booked_on - 1", "DELETE FROM journal", "TRUNCATE journal CASCADE",
])  # fmt: skip
async def test_nothing_booked_ever_changes_whoever_asks(
    site: Site, owner_db: Database, web_db: Database, change: LiteralString
) -> None:
    for db in (site.db, web_db):
        with pytest.raises(InsufficientPrivilege):
            await _execute(db, change)
    roles: tuple[LiteralString, ...] = ("SET LOCAL session_replication_role = 'replica'", "SELECT 1")
    for role in roles:
        with pytest.raises(psycopg.IntegrityError):
            await _execute(owner_db, role, change)


@pytest.mark.parametrize("amounts", [[], ["1"], ["1", "-0.99"]])
async def test_a_journal_without_postings_or_balance_is_refused(site: Site, amounts: list[str]) -> None:
    with pytest.raises(psycopg.IntegrityError, match=r"balance|no postings"):
        # Who hides the rows from himself hides them not from the check.
        await _write(site.db, site.project.id, amounts, "CNY", "SELECT set_config('gm.kind', '', true)")


async def test_nothing_is_added_to_a_journal_that_is_booked(site: Site) -> None:
    (journal,) = await site.rows("SELECT id FROM journal ORDER BY id LIMIT 1")
    with pytest.raises(psycopg.IntegrityError, match="is booked"):
        await _append(site, journal["id"])


async def test_currency_decimals_and_repetition(site: Site) -> None:
    async def book(*journals: Journal) -> None:
        async with site.db.transaction(SYSTEM) as conn:
            await billing.book(conn, journals)

    with pytest.raises(psycopg.IntegrityError, match="USD"):
        await book(_journal(site, 1, FEBRUARY, "1", "-1", currency="USD"))
    with pytest.raises(InvalidInput, match="2 decimals"):
        await book(_journal(site, 1, FEBRUARY, "1.005", "-1.005"))
    await book(_journal(site, 1, FEBRUARY, "1", "-1"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        await book(_journal(site, 1, FEBRUARY, "1", "-1"))


async def test_a_currency_without_cents_has_none_in_the_ledger(worker_db: Database) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, "tokyo", "Tokyo", "Asia/Tokyo", "JPY")
    with pytest.raises(psycopg.IntegrityError, match="more decimals than JPY"):
        await _write(worker_db, project.id, ["0.50", "-0.50"], "JPY")
    await _write(worker_db, project.id, ["50", "-50"], "JPY")


async def _close(site: Site, month: date, now: datetime = datetime(2026, 6, 1, tzinfo=UTC)) -> int:
    async with site.db.transaction(SYSTEM) as conn:
        return (await accounting_months.close_month(conn, site.project.id, month, now=now)).id


async def test_what_happened_in_a_closed_month_is_booked_on_the_first_open_day(site: Site) -> None:
    await _close(site, FEBRUARY)
    await _pay(site, 0, "100", date(2026, 2, 20))
    (booked,) = await site.rows("SELECT booked_on, occurred_on FROM journal WHERE kind = 'payment'")
    assert booked == {"booked_on": MARCH, "occurred_on": date(2026, 2, 20)}
    assert await site.rows("SELECT paid_on FROM payment_allocation") == [{"paid_on": date(2026, 2, 20)}]
    with pytest.raises(psycopg.IntegrityError, match="closed up to 2026-02: nothing is booked on 2026-02-01"):
        await _write(site.db, site.project.id, ["1", "-1"], "CNY")


async def test_months_are_closed_in_order_and_opened_from_the_end(site: Site) -> None:
    async def refused(code: str, month: date, now: datetime = datetime(2026, 6, 1, tzinfo=UTC)) -> None:
        with pytest.raises(GatemeterError) as caught:
            await _close(site, month, now)
        assert caught.value.code == code

    await refused("bad-month", date(2026, 2, 2))
    # In Shanghai it is still February.
    await refused("month-not-over", FEBRUARY, datetime(2026, 2, 28, 15, 59, tzinfo=UTC))
    first = await _close(site, FEBRUARY, datetime(2026, 2, 28, 16, tzinfo=UTC))
    await refused("not-the-next-month", FEBRUARY)
    await refused("not-the-next-month", date(2026, 4, 1))
    second = await _close(site, MARCH)
    async with site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="closed last"):
            await accounting_months.reopen_month(conn, first, "too early")
        with pytest.raises(InvalidInput, match="reason"):
            await accounting_months.reopen_month(conn, second, " ")
        await accounting_months.reopen_month(conn, second, "a bill was missing")
        assert (await accounting_months.last_closed(conn, site.project.id) or second) != second
        await accounting_months.reopen_month(conn, first, "and this one")
        assert await accounting_months.open_from(conn, [site.project.id]) == {}
    with pytest.raises(psycopg.IntegrityError, match="closing is kept"):
        await site.rows("DELETE FROM accounting_month")


async def test_a_ledger_that_disagrees_is_not_closed_and_the_proof_is_kept(site: Site, owner_db: Database) -> None:
    first, second = (flat.account_id for flat in site.flats)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE number_series SET next = next + 1")
        await conn.execute(
            """INSERT INTO payment (project_id, account_id, purpose, method, amount, currency, paid_on)
               VALUES (%s, %s, 'balance', 'cash', 7, 'CNY', '2026-02-03')""",
            (site.project.id, first),
        )
    async with site.db.transaction(SYSTEM) as conn:
        sides = (Posting("receivable", Decimal(-5), first), Posting("liability:prepaid", Decimal(5), second))
        await billing.book(conn, [Journal(site.project.id, "refund", FEBRUARY, "test", 1, "CNY", sides)])
    with pytest.raises(Conflict, match="7 sums disagree"):
        await _close(site, FEBRUARY)
    with pytest.raises(jobs.LedgerDoesNotBalance):
        await jobs.prove_ledger(JobContext(1, None, {}, site.db))
    async with site.db.transaction(SYSTEM) as conn:
        (kept,) = (await proof.list_proofs(conn, PageRequest(10), site.project.id)).items
    assert (kept.discrepancies, kept.journals, kept.bills, kept.accounts) == (7, 3, 2, 2)
    assert {(one.what, one.expected, one.found) for one in kept.found} == {
        ("receivable", TOTAL, TOTAL - 5), ("payment", Decimal(7), Decimal(0)), ("prepaid", Decimal(0), Decimal(-5)),
        ("series", Decimal(3), Decimal(2)), ("cash", Decimal(7), Decimal(0)), ("held-balance", Decimal(7), Decimal(0)),
        ("held-balance", Decimal(0), Decimal(-5)),
    }  # fmt: skip


async def test_a_bill_whose_journal_is_missing_or_wrong_is_found(site: Site, owner_db: Database) -> None:
    (bill,) = [one for one in await site.bills() if one.account_id == site.flats[0].account_id]
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("ALTER TABLE posting DISABLE TRIGGER USER")
        await conn.execute("ALTER TABLE journal DISABLE TRIGGER USER")
        await conn.execute(
            "DELETE FROM posting p USING journal j WHERE j.id = p.journal_id AND j.source_id = %s", (bill.id,)
        )
    found = {(one.what, one.expected, one.found) for one in await site.proof()}
    assert found == {("bill-journal", TOTAL, Decimal(0)), ("receivable", TOTAL, Decimal(0)), ("empty-journal", 1, 0)}


async def test_trial_balance_statement_and_ages(site: Site) -> None:
    await _pay(site, 0, "119.16", date(2026, 2, 20))
    await _pay(site, 0, "300", date(2026, 3, 5))
    project_id, account_id = site.project.id, site.flats[0].account_id
    async with site.db.transaction(SYSTEM) as conn:
        found = await balances.trial_balance(conn, project_id, Period(MARCH, date(2026, 4, 1)))
        rows = {one.ledger_account: one for one in found.accounts}
        receivable = rows["receivable"]
        assert (receivable.opening, receivable.debit, receivable.credit, receivable.closing) == (
            TOTAL * 2 - Decimal("119.16"), Decimal(0), Decimal(200), TOTAL,
        )  # fmt: skip
        assert rows["liability:prepaid"].closing == -100
        assert rows["cash:wechat"].debit == 300
        assert rows["revenue:electricity"].credit == 0
        total = found.total
        assert total.opening == total.closing == total.debit - total.credit == 0

        first = await balances.statement(conn, PageRequest(2), account_id)
        second = await balances.statement(conn, page_request(2, first.next_cursor, key_length=2), account_id)
        assert [entry.balance for entry in (*first.items, *second.items)] == [TOTAL, 200, 0, -100]
        assert (first.items[0].number, first.items[0].booked_on) == ("2026-000001", FEBRUARY)
        assert second.next_cursor is None
        owed = await balances.statement(
            conn, PageRequest(9), account_id, ledger_account="receivable", start=MARCH, end=date(2026, 4, 1)
        )
        assert [(entry.amount, entry.balance) for entry in owed.items] == [(Decimal(-200), Decimal(0))]
        with pytest.raises(InvalidInput):
            await balances.statement(conn, PageRequest(2, ("x", 1)), account_id)

        other = site.flats[1].account_id
        for day, bucket in (
            (date(2026, 2, 16), "not_due"), (date(2026, 2, 17), "to_30"), (date(2026, 3, 18), "to_30"),
            (date(2026, 3, 19), "to_60"), (date(2026, 4, 17), "to_60"), (date(2026, 4, 18), "to_90"),
            (date(2026, 5, 17), "to_90"), (date(2026, 5, 18), "over_90"),
        ):  # fmt: skip
            aged = (await balances.receivables_by_age(conn, PageRequest(9), project_id, day)).items[-1]
            assert aged == Aged(other, **{age: TOTAL if age in (bucket, "total") else Decimal(0) for age in AGES})
        then = await balances.receivables_total(conn, project_id, date(2026, 2, 25))
        assert then.total == then.to_30 == TOTAL * 2 - Decimal("119.16")
        assert (await balances.receivables_total(conn, project_id, date(2026, 1, 31))).total == 0


async def test_who_books_and_who_closes_wait_for_each_other(site: Site) -> None:
    """A month never closes over a booking that is not committed yet, nor is anything booked into it meanwhile."""
    async with site.db.transaction(SYSTEM) as conn:
        await billing.book(conn, [_journal(site, 1, FEBRUARY, "1", "-1")])
        closing = asyncio.create_task(_close(site, FEBRUARY))
        while not await site.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert not closing.done()
    await closing
    async with site.db.transaction(SYSTEM) as conn:
        await accounting_months.close_month(conn, site.project.id, MARCH, now=datetime(2026, 6, 1, tzinfo=UTC))
        booking = asyncio.create_task(_write(site.db, site.project.id, ["1", "-1"], "CNY", day=MARCH))
        while not await site.rows("SELECT FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"):
            assert not booking.done()
    with pytest.raises(psycopg.IntegrityError, match="closed up to 2026-03"):
        await booking


async def test_a_currency_that_amounts_cannot_keep_is_refused(worker_db: Database, owner_db: Database) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        for currency, code in (("KWD", "currency-not-kept"), ("CLF", "currency-not-kept"), ("rmb", "unknown-currency")):
            with pytest.raises(InvalidInput) as caught:
                await estate.create_project(conn, "there", "There", "Asia/Kuwait", currency)
            assert caught.value.code == code
    with pytest.raises(psycopg.errors.CheckViolation, match="currency_fits_amounts"):
        await _execute(
            owner_db,
            "INSERT INTO project (code, name, time_zone, currency) VALUES ('there', 'There', 'Asia/Kuwait', 'KWD')",
        )


async def test_the_database_knows_the_decimals_of_currencies_as_we_do(worker_db: Database) -> None:
    codes = [a + b + c for a in ascii_uppercase for b in ascii_uppercase for c in ascii_uppercase]
    async with worker_db.transaction(SYSTEM) as conn:
        query = "SELECT code, gm.minor_digits(code) AS digits FROM unnest(%s::text[]) AS code"
        rows = await (await conn.execute(query, (codes,))).fetchall()
    assert [row["code"] for row in rows if row["digits"] != minor_digits(row["code"])] == []


async def test_a_project_without_cents_bills_whole_units(worker_db: Database) -> None:
    """JPY from the tariff to the bill, the payment and the proof: no amount has decimals."""
    async with worker_db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, "tokyo", "Tokyo", "Asia/Tokyo", "JPY")
        building = await estate.create_building(conn, project.id, "1", "Tower 1")
        unit = await estate.create_unit(conn, project.id, building.id, "1", area=Decimal("89.50"))
        person = await estate.create_person(conn, Sealer(Keys.generate()), project.id, "Resident")
        account = await estate.create_account(conn, project.id, "A-1", unit.id, person.id, date(2025, 1, 1))
        content = load_yaml(TARIFFS / "property-fee.yaml", TariffContent).model_copy(update={"currency": "JPY"})
        version = await tariffs.publish(conn, project.id, "fee", "Fee", "property", content, JANUARY)
        await billing.create_agreements(
            conn, project.id, [billing.NewAgreement(account.id, "property", version.tariff_id, JANUARY, None)]
        )
    site = Site(worker_db, project, {}, [])
    await site.run(JANUARY)
    (bill,) = await site.bills()
    assert (bill.total, bill.currency) == (Decimal(210), "JPY")
    async with worker_db.transaction(SYSTEM) as conn:
        with pytest.raises(InvalidInput, match="0 decimals"):
            await payments.record_payment(conn, account.id, Decimal("10.50"), "cash", FEBRUARY)
        await payments.record_payment(conn, account.id, Decimal(200), "cash", FEBRUARY)
    assert await site.proof() == []
