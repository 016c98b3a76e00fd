"""Books of two projects in two currencies never mix, and the vouchers of a closed month stay as they went out."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.notes import Part
from cloud.billing.ledger import balances
from cloud.billing.ledger import months as accounting_months
from cloud.billing.ledger.balances import TrialBalance
from cloud.billing.vouchers import exports
from cloud.billing.vouchers.files import FILE_TYPES
from cloud.billing.vouchers.making import Grouping
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period
from cloud.payments import service as payments
from tests.integration.billing.late import count_otherwise, late
from tests.integration.billing.site import Site, make_site, noon

JANUARY, FEBRUARY, MARCH, APRIL = (date(2026, month, 1) for month in range(1, 5))
SPRING = Period(FEBRUARY, APRIL)
SIDES = ("debit", "credit")
GROUPINGS: tuple[Grouping, ...] = ("day", "journal")


async def _site(db: Database, code: str, zone: str, currency: str, paid: str) -> Site:
    """A flat that is billed for January in February and has paid some of it."""
    site = await make_site(db, 1, services=("electricity", "property"), code=code, zone=zone, currency=currency)
    await site.read(site.flats[0], "electricity", [300_500, 250_000])
    await site.run(JANUARY)
    async with db.transaction(SYSTEM) as conn:
        await payments.record_payment(conn, site.flats[0].account_id, Decimal(paid), "cash", date(2026, 2, 20))
    return site


@pytest.fixture
async def garden(worker_db: Database) -> Site:
    """The one in yuan."""
    return await _site(worker_db, "garden", "Asia/Shanghai", "CNY", "100.07")


@pytest.fixture
async def tokyo(worker_db: Database) -> Site:
    """The one in yen, which has no cents."""
    return await _site(worker_db, "tokyo", "Asia/Tokyo", "JPY", "100")


async def _trial_balance(site: Site) -> TrialBalance:
    async with site.db.transaction(SYSTEM) as conn:
        return await balances.trial_balance(conn, site.project.id, SPRING)


def _closing(found: TrialBalance) -> Mapping[str, Decimal]:
    return {one.ledger_account: one.closing for one in found.accounts}


async def test_the_trial_balances_of_two_currencies_balance_each_by_itself(garden: Site, tokyo: Site) -> None:
    yuan, yen = await _trial_balance(garden), await _trial_balance(tokyo)
    # 300.5 kWh at 0.4883, and 89.5 m² at 2.35, which each project rounds to what it has.
    assert _closing(yuan) == {
        "cash:cash": Decimal("100.07"), "receivable": Decimal("256.99"),
        "revenue:electricity": Decimal("-146.73"), "revenue:property": Decimal("-210.33"),
    }  # fmt: skip
    assert _closing(yen) == {
        "cash:cash": Decimal(100), "receivable": Decimal(257),
        "revenue:electricity": Decimal(-147), "revenue:property": Decimal(-210),
    }  # fmt: skip
    for found in (yuan, yen):
        assert found.total.opening == found.total.closing == 0
        assert found.total.debit == found.total.credit > 0
    # What happens in one project afterwards is seen in its books alone.
    async with garden.db.transaction(SYSTEM) as conn:
        await payments.record_payment(conn, garden.flats[0].account_id, Decimal(300), "wechat", MARCH)
    assert _closing(await _trial_balance(garden))["liability:prepaid"] == Decimal("-43.01")
    assert await _trial_balance(tokyo) == yen
    for site, currency in ((garden, "CNY"), (tokyo, "JPY")):
        booked = await site.rows("SELECT DISTINCT currency FROM journal WHERE project_id = %s", site.project.id)
        assert booked == [{"currency": currency}]
        assert await site.proof() == []


async def _files(site: Site) -> dict[tuple[str, str, str], bytes]:
    """February in every layout, kind of file and grouping; every voucher in them balances."""
    found: dict[tuple[str, str, str], bytes] = {}
    async with site.db.transaction(SYSTEM) as conn:
        for grouping in GROUPINGS:
            for voucher in await exports.month_vouchers(conn, site.project.id, Period(FEBRUARY, MARCH), grouping):
                sides = [sum((getattr(line, side) for line in voucher.lines), Decimal(0)) for side in SIDES]
                assert sides == [voucher.total] * 2
                assert voucher.total > 0
            for layout, forms in FILE_TYPES.items():
                for form in forms:
                    made = await exports.export_vouchers(conn, site.project.id, FEBRUARY, layout, form, grouping)
                    found[layout, form, grouping] = await exports.content(conn, made.id)
    return found


async def test_vouchers_of_a_closed_month_stay_byte_by_byte_whatever_is_corrected_later(garden: Site) -> None:
    before = await _files(garden)
    async with garden.db.transaction(SYSTEM) as conn:
        await accounting_months.close_month(conn, garden.project.id, FEBRUARY, now=datetime(2026, 3, 2, tzinfo=UTC))
    (bill,) = await garden.bills()
    # A late reading of a month that was billed, a note on one of its bills, money of a day that is closed.
    await count_otherwise(garden, garden.flats[0], JANUARY, 100_000)
    await late(garden)
    await garden.run(FEBRUARY, noon(MARCH))
    async with garden.db.transaction(SYSTEM) as conn:
        part = [Part(1, Decimal("7.77"))]
        note = await billing.note_of_bill(conn, bill.id, "credit_note", part, "goodwill", by=5)
        await billing.approve_note(conn, note.id, by=6, now=noon(MARCH))
        await payments.record_payment(conn, bill.account_id, Decimal("9.99"), "wechat", date(2026, 2, 25))
    # None of these files was made since the month was closed: they are written again, not just found again.
    assert await garden.rows("SELECT FROM voucher_export WHERE closing_id IS NOT NULL") == []
    assert await _files(garden) == before
    kinds = [row["kind"] for row in await garden.rows("SELECT kind FROM journal WHERE booked_on >= %s", MARCH)]
    assert sorted(kinds) == ["bill", "credit_note", "payment"]
    assert await garden.proof() == []
