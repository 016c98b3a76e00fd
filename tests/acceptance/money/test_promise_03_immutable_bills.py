"""Promise 3: "Issued bills are immutable in the database itself; corrections are adjustment lines that name the
original line and period."
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from decimal import Decimal

import psycopg
import pytest
from psycopg import sql

from cloud.kit.db import SYSTEM, Asker, Conn, Database
from tests.acceptance.money.history import everything_happens
from tests.acceptance.money.office import Document, Office
from tests.integration.billing.late import count_otherwise
from tests.integration.billing.site import Flat, Site

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
TABLES = (
    "bill", "charge", "bill_line", "adjustment", "billed_adjustment", "journal", "posting", "payment_allocation",
)  # fmt: skip
"""Credit and debit notes are bills of another kind."""
LIVES_ON = {("bill", "state"), ("bill", "settled_on")}
"""What being paid or disputed changes of an issued bill."""
OTHERWISE: dict[str, str] = {
    "int8": "coalesce({0}, 0) + 1", "int4": "coalesce({0}, 0) + 1", "int2": "coalesce({0}, 0) + 1",
    "numeric": "coalesce({0}, 0) + 1", "text": "coalesce({0}, '') || 'x'", "date": "coalesce({0}, '2026-01-01') + 1",
    "daterange": "'[1999-01-01,1999-02-01)'", "jsonb": """'{{"changed": 1}}'""",
    "timestamptz": "coalesce({0}, now()) + interval '1 s'", "xid8": "'1'", "bool": "NOT coalesce({0}, false)",
}  # fmt: skip
"""By type of a column: another value than {0}."""


class Asking:
    """The roles of the database, and the people behind the web's."""

    def __init__(self, site: Site, owner: Database, web: Database, ingest: Database) -> None:
        project = (site.project.id,)
        self.roles: dict[str, tuple[Database, Asker]] = {
            "owner": (owner, SYSTEM),
            "worker": (site.db, SYSTEM),
            "ingest": (ingest, SYSTEM),
            "staff on the web": (web, Asker("staff", project, user_id=1)),
            "a resident on the web": (web, Asker("resident", project, (site.flats[0].person_id,))),
        }

    @asynccontextmanager
    async def as_role(self, role: str) -> AsyncIterator[Conn]:
        """A transaction in the name of the role."""
        db, asker = self.roles[role]
        async with db.transaction(asker) as conn:
            yield conn

    async def try_to(self, role: str, change: sql.SQL | sql.Composed) -> str | None:
        """How the role changed something: what was done; None where the database refused or showed it nothing."""
        try:
            async with self.as_role(role) as conn:
                done = await conn.execute(change)
                return f"{role}: {change.as_string(conn)}" if done.rowcount != 0 else None
        except psycopg.errors.InsufficientPrivilege:
            return None
        except psycopg.IntegrityError as error:
            # A trigger of ours, before any other constraint could happen to be in the way.
            return None if error.sqlstate == "23000" else f"{role}: {change.as_string()} hits only {error}"


@pytest.fixture
def asking(site: Site, owner_db: Database, web_db: Database, ingest_db: Database) -> Asking:
    """All who may connect."""
    return Asking(site, owner_db, web_db, ingest_db)


async def _digest(owner: Database) -> str:
    """All that must not change, in one number."""
    async with owner.transaction(SYSTEM) as conn:
        parts = []
        for table in TABLES:
            query = sql.SQL("SELECT count(*) AS n, md5(string_agg(t::text, '' ORDER BY t::text)) AS h FROM {} t")
            row = await (await conn.execute(query.format(sql.Identifier(table)))).fetchone()
            assert row is not None
            assert row["n"] > 0, f"nothing in {table}"
            parts.append(row["h"])
    return "".join(parts)


async def _columns(owner: Database, table: str) -> list[tuple[str, str]]:
    async with owner.transaction(SYSTEM) as conn:
        rows = await (
            await conn.execute(
                """SELECT column_name AS name, udt_name AS type FROM information_schema.columns
                   WHERE table_schema = 'public' AND table_name = %s AND is_generated = 'NEVER' AND is_identity = 'NO'
                   ORDER BY ordinal_position""",
                (table,),
            )
        ).fetchall()
    return [(row["name"], row["type"]) for row in rows]


async def test_nobody_changes_any_column_of_what_is_issued_or_booked(
    office: Office, asking: Asking, owner_db: Database
) -> None:
    await everything_happens(office)
    before, tried, changed = await _digest(owner_db), 0, []
    for table in TABLES:
        for column, kind in await _columns(owner_db, table):
            value = OTHERWISE[kind].format(sql.Identifier(column).as_string(None))
            if (table, column) in LIVES_ON:
                value = "'draft'" if column == "state" else value
                if column == "settled_on":
                    continue
            change = sql.SQL("UPDATE {} SET {} = ").format(sql.Identifier(table), sql.Identifier(column))
            for role in asking.roles:
                tried += 1
                changed.append(await asking.try_to(role, change + sql.SQL(value)))
    assert [one for one in changed if one] == []
    assert tried > 400
    assert await _digest(owner_db) == before


async def test_nobody_deletes_what_is_issued_or_booked(office: Office, asking: Asking, owner_db: Database) -> None:
    await everything_happens(office)
    before, done = await _digest(owner_db), []
    for table in map(sql.Identifier, TABLES):
        done += [await asking.try_to(role, sql.SQL("DELETE FROM {}").format(table)) for role in asking.roles]
        emptied = sql.SQL("TRUNCATE {} CASCADE").format(table)
        done += [await asking.try_to(role, emptied) for role in asking.roles]
    assert [one for one in done if one] == []
    assert await _digest(owner_db) == before


async def test_nothing_is_put_into_an_issued_bill(office: Office, asking: Asking, owner_db: Database) -> None:
    await everything_happens(office)
    before = await _digest(owner_db)
    added = sql.SQL(
        """INSERT INTO bill_line (project_id, bill_id, charge_id, position, kind, service, component, amount)
           SELECT project_id, bill_id, charge_id, 99, kind, service, component, amount FROM bill_line LIMIT 1"""
    )
    for role in asking.roles:
        assert await asking.try_to(role, added) is None
    assert await _digest(owner_db) == before


async def _adjusted(office: Office) -> tuple[Document, Document, Flat]:
    """A late reading of January, re-rated at night, and the bill of February that takes it up."""
    flat = office.site.flats[0]
    await office.bill(JANUARY)
    (january,) = await office.bills(flat)
    untouched = await office.whole(january)
    await count_otherwise(office.site, flat, JANUARY, 100_000)
    await office.nightly("billing.re-rate")
    await office.bill(FEBRUARY)
    assert await office.whole(january) == untouched, "the issued bill stays as it was"
    return untouched, await office.whole((await office.bills(flat))[1]), flat


async def test_a_correction_is_an_adjustment_line_that_names_the_original_line_and_period(office: Office) -> None:
    january, february, _ = await _adjusted(office)
    (line,) = february["corrections"]
    original = january["charges"][0]["lines"][0]
    assert (line["kind"], line["original_number"], line["original_line"], line["original_period"]) == (
        "adjustment", january["number"], original["position"], "2026-01-01/2026-02-01",
    )  # fmt: skip
    assert (line["quantity"]["quantity"], line["price"], line["amount"]["amount"]) == ("100", "0.4883", "48.83")
    charged = sum(Decimal(charge["amount"]["amount"]) for charge in february["charges"])
    assert Decimal(february["total"]["amount"]) == charged + Decimal("48.83")
    assert await office.site.proof() == []


@pytest.mark.parametrize("language", ["en", "zh-CN"])
async def test_people_read_the_correction_on_their_bill(office: Office, language: str) -> None:
    january, february, _ = await _adjusted(office)
    html = (await office.document(february, "html", language)).decode()
    assert january["number"] in html, "it names the original bill"
    assert "¥48.83" in html
