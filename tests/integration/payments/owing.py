"""Two flats that owe the property fee of two months, for tests of arrears: what happens to them, in one line each."""

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from cloud.billing import service as billing
from cloud.billing.arrears.late_fees import LateFeeRule
from cloud.billing.records import BillRow, LateFeeRow
from cloud.billing.service import Policy
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.payments import service as payments
from cloud.payments.service import RecordedPayment
from tests.integration.billing.site import Site, make_site

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
FEE = Decimal("210.33")
"""Of a flat for a month: its bills are due on 16 February and 16 March."""
RULE = LateFeeRule(daily_rate=Decimal("0.001"))


@dataclass(frozen=True, slots=True)
class Owing:
    """The site, and the first flat, whose account is looked at."""

    site: Site

    @property
    def account_id(self) -> int:
        """The account of the first flat."""
        return self.site.flats[0].account_id

    @property
    def db(self) -> Database:
        """The database."""
        return self.site.db

    async def bills(self) -> list[BillRow]:
        """Its bills, oldest first."""
        return await self.site.bills(account_id=self.account_id)

    async def pay(self, amount: str | Decimal, on: date) -> RecordedPayment:
        """A payment in cash."""
        async with self.db.transaction(SYSTEM) as conn:
            return await payments.record_payment(conn, self.account_id, Decimal(amount), "cash", on)

    async def night(self, today: date) -> None:
        """What the nightly job does."""
        async with self.db.transaction(SYSTEM) as conn:
            await billing.end_broken_plans(conn, self.site.project.id, today)
            await billing.refresh_late_fees(conn, self.site.project.id, today)

    async def fee(self, nth: int = 0) -> LateFeeRow:
        """The late fee of its nth bill."""
        bill = (await self.bills())[nth]
        async with self.db.transaction(SYSTEM) as conn:
            found = (await billing.get_bill(conn, bill.id)).late_fee
        assert found is not None
        return found

    async def held(self, what: billing.Held = "balance") -> Decimal:
        """What is held for its account."""
        async with self.db.transaction(SYSTEM) as conn:
            return await billing.held(conn, self.account_id, what)


async def make_owing(
    db: Database, policy: Policy, months: tuple[date, ...] = (JANUARY, FEBRUARY), *, flats: int = 2, code: str = "demo"
) -> Owing:
    """The bills of these months under these terms, issued on the first of the month after."""
    site = await make_site(db, flats, services=("property",), code=code)
    async with db.transaction(SYSTEM) as conn:
        await billing.set_policy(conn, site.project.id, date(2025, 1, 1), policy)
    for month in months:
        await site.run(month)
    return Owing(site)


async def user(conn: Conn, name: str) -> int:
    """A user to ask or decide in the name of."""
    query = "INSERT INTO app_user (login, display_name, password_hash, locale) VALUES (%s, %s, 'x', 'en') RETURNING id"
    row = await (await conn.execute(query, (name, name))).fetchone()
    assert row is not None
    return int(row["id"])
