"""Row by row: of every table of the later migrations staff see their project, and a resident what is his."""

import random
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from cloud import migrations
from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Asker, Conn, Database
from cloud.parking import service as parking
from tests.integration.billing.site import Flat, Site, make_site

MIGRATIONS = Path(str(migrations.__path__[0]))
SINCE, LAST = 34, 61
OF_THE_PROJECT = {
    *("prepaid_policy", "notice_setting", "parking_money_policy", "picture_policy"),
    *("permit_product", "permit_product_lot", "parking_reservation_rule", "parking_lot_class"),
}
"""How a project goes about something: all of its residents may read it."""
OF_STAFF = {
    *("prepaid_protection", "ledger_month_balance", "payment_callback", "gateway_access", "gateway_access_entry"),
    *("note_refusal", "payment_refund", "parking_intent_stay", "late_filing"),
    *("parking_lot_policy", "parking_list_entry", "parking_count_told"),
    *("permit_cover", "permit_told", "permit_gateway"),
    *("plate_correction", "parking_ticket", "incident_handling", "manual_opening", "passage_time_repair"),
    *("parking_shift", "parking_shift_count", "parking_shift_payment", "parking_shift_refund"),
    *("picture_request", "passage_picture", "picture_policy"),
    *("parking_merchant", "merchant_payment", "coupon_batch", "coupon", "merchant_link", "coupon_handout"),
}
"""No resident reads these."""
KEYS = {"permit_cover": "permit_id", "parking_count_told": "lot_id"}
"""What tells their rows apart, where that is neither `id` nor the first column."""

FITTING: dict[str, dict[str, Any]] = {"payment_intent": {"state": "created", "provider_id": None}}
"""What a resident's row must say: with anything else it is refused whosever it is."""


def tables() -> list[str]:
    """Every table that these migrations make for people to see, in their order; `store` is of the workers."""
    files = [one for one in sorted(MIGRATIONS.glob("*.sql")) if SINCE <= int(one.name[:4]) <= LAST]
    return [
        name for one in files for name in re.findall(r"^CREATE TABLE (?:public\.)?(\w+)\b(?!\.)", one.read_text(), re.M)
    ]


@dataclass
class Owner:
    """Whose rows they are: a project, an account and person in it, and his row of each table that was filled."""

    project_id: int
    flat: Flat
    rows: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A column to be filled. `of`: the table that it names a row of."""

    name: str
    type: str
    required: bool
    of: str | None


class Filling:
    """Fills tables with rows of anybody: whatever columns say, and references to his own rows."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    async def columns(self, conn: Conn, table: str) -> list[Column]:
        rows = await (
            await conn.execute(
                """SELECT a.attname AS name, coalesce(format_type(nullif(t.typbasetype, 0), NULL),
                                                      format_type(a.atttypid, NULL)) AS type,
                          a.attnotnull AS required,
                          (SELECT c.confrelid::regclass::text FROM pg_constraint c
                           WHERE c.conrelid = a.attrelid AND c.contype = 'f'
                             AND a.attnum = c.conkey[cardinality(c.conkey)] ORDER BY cardinality(c.conkey) DESC LIMIT 1)
                          AS of
                   FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid
                   WHERE a.attrelid = %s::regclass AND a.attnum > 0 AND NOT a.attisdropped
                     AND a.attidentity = '' AND a.attgenerated = '' ORDER BY a.attnum""",
                (table,),
            )
        ).fetchall()
        return [Column(**row) for row in rows]

    def row(self, columns: Sequence[Column], owner: Owner) -> dict[str, Any]:
        told = {one.name: self._value(one, owner) for one in columns}
        return {name: value for name, value in told.items() if value is not None}

    def _value(self, column: Column, owner: Owner) -> Any:
        if column.name == "project_id":
            return owner.project_id
        if column.of is not None:
            # Of what it names and is not his, a row that does not exist is nobody's.
            nobody: Any = str(uuid4()) if column.type == "uuid" else -self._random.randrange(1, 2**40)
            return owner.rows.get(column.of, nobody if column.required else None)
        if not column.required and self._random.random() < 0.5:
            return None
        day = date(2026, self._random.randrange(1, 13), 1)
        number = self._random.randrange(1, 1000)
        values: dict[str, Any] = {
            "boolean": self._random.random() < 0.5,
            "date": day,
            "timestamp with time zone": datetime(2026, day.month, 1, tzinfo=UTC),
            "time without time zone": time(self._random.randrange(24)),
            "jsonb": "{}",
            "text[]": [],
            "bytea": b"x",
            "inet": "10.0.0.1",
            "daterange": f"[{day},)",
            "tstzrange": f"[{day},)",
            "tstzmultirange": f"{{[{day},)}}",
            "interval": "1 hour",
            "uuid": str(uuid4()),
        }
        if column.type.endswith("[]"):
            return []
        if column.type in values:
            return values[column.type]
        return number if re.match(r"(big|small)?int|numeric", column.type) else secrets.token_hex(10)


async def insert(conn: Conn, table: str, row: dict[str, Any]) -> dict[str, Any] | None:
    names = sql.SQL(", ").join(map(sql.Identifier, row))
    query = sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING *").format(
        sql.Identifier(table), names, sql.SQL(", ").join([sql.Placeholder()] * len(row))
    )
    return await (await conn.execute(query, list(row.values()))).fetchone()


@dataclass
class House:
    """Two neighbours of one project and a stranger of another; each has a row of every table."""

    owner_db: Database
    web_db: Database
    mine: Owner
    neighbour: Owner
    stranger: Owner
    filling: Filling
    keys: dict[str, str]

    @property
    def staff(self) -> Asker:
        return Asker("staff", (self.mine.project_id,), user_id=1)

    @property
    def resident(self) -> Asker:
        return Asker("resident", (self.mine.project_id,), (self.mine.flat.person_id,), user_id=1)

    async def seen(self, asker: Asker, table: str) -> set[int]:
        """The rows that somebody sees without any WHERE."""
        key = self.keys[table]
        query = sql.SQL("SELECT {} AS id FROM {}").format(sql.Identifier(key), sql.Identifier(table))
        async with self.web_db.transaction(asker) as conn:
            return {row["id"] for row in await (await conn.execute(query)).fetchall()}

    async def changed(self, asker: Asker, table: str, row_id: int) -> bool:
        """Whether somebody can update or delete a row."""
        key = sql.Identifier(self.keys[table])
        for statement in ("UPDATE {} SET project_id = project_id WHERE {} = %s", "DELETE FROM {} WHERE {} = %s"):
            try:
                async with self.web_db.transaction(asker) as conn, conn.transaction(force_rollback=True):
                    query = sql.SQL(statement).format(sql.Identifier(table), key)
                    if (await conn.execute(query, (row_id,))).rowcount:
                        return True
            except psycopg.errors.InsufficientPrivilege:
                continue
            except psycopg.IntegrityError:
                return True  # it got as far as a trigger: the row was within reach
        return False

    async def added(self, asker: Asker, table: str, owner: Owner) -> bool:
        """Whether somebody can add a row in the name of another."""
        async with self.owner_db.transaction(SYSTEM) as conn:
            columns = await self.filling.columns(conn, table)
        try:
            async with self.web_db.transaction(asker) as conn, conn.transaction(force_rollback=True):
                # Without what is returned: reading it back is another policy's matter.
                row = self.filling.row(columns, owner) | FITTING.get(table, {})
                names = sql.SQL(", ").join(map(sql.Identifier, row))
                query = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                    sql.Identifier(table), names, sql.SQL(", ").join([sql.Placeholder()] * len(row))
                )
                await conn.execute(query, list(row.values()))
        except psycopg.errors.InsufficientPrivilege:
            return False
        except psycopg.IntegrityError:
            return True
        return True

    async def holes(self, table: str) -> list[str]:
        """Whatever of a table is seen or can be written that should not be, and what is hidden from its own."""
        mine, neighbour, stranger = (one.rows[table] for one in (self.mine, self.neighbour, self.stranger))
        expected = set() if table in OF_STAFF else {mine}
        found = []
        if await self.seen(self.staff, table) != {mine, neighbour}:
            found.append("staff see other rows than those of their project")
        if await self.seen(self.resident, table) != expected:
            found.append("a resident sees other rows than his")
        if await self.changed(self.staff, table, stranger):
            found.append("staff change rows of another project")
        if await self.added(self.staff, table, self.stranger):
            found.append("staff add rows to another project")
        for whose, owner, row_id in (
            ("a neighbour", self.neighbour, neighbour),
            ("a stranger", self.stranger, stranger),
        ):
            if await self.changed(self.resident, table, row_id):
                found.append(f"a resident changes rows of {whose}")
            if await self.added(self.resident, table, owner):
                found.append(f"a resident adds rows for {whose}")
        return found


async def _base(conn: Conn, site: Site, flat: Flat) -> Owner:
    """What the services made of a flat."""
    owner = Owner(site.project.id, flat)
    owner.rows |= {"account": flat.account_id, "person": flat.person_id, "unit": flat.unit_id, "app_user": 1}
    for table, query in {
        "bill": "SELECT id FROM bill WHERE account_id = %(account)s",
        "service_agreement": "SELECT id FROM service_agreement WHERE account_id = %(account)s",
    }.items():
        row = await (await conn.execute(query, owner.rows)).fetchone()
        assert row is not None
        owner.rows[table] = row["id"]
    await estate.create_occupancy(conn, site.project.id, flat.unit_id, flat.person_id, "tenant", date(2025, 1, 1), None)
    opened = await billing.open_dispute(
        conn, owner.rows["bill"], "high", by=None, by_resident=True, today=date(2026, 2, 2)
    )
    owner.rows["bill_dispute"] = opened.id
    await _parks(conn, owner)
    return owner


async def _parks(conn: Conn, owner: Owner) -> None:
    """A vehicle of the person, and its stay."""
    lot = await parking.create_lot(conn, owner.project_id, f"lot-{owner.flat.unit_id}", "Lot", 1)
    values = {"project": owner.project_id, "plate": f"京A{owner.flat.unit_id:05}", "lot": lot.id} | owner.rows
    await conn.execute(
        """INSERT INTO vehicle (project_id, plate, person_id, valid)
           VALUES (%(project)s, %(plate)s, %(person)s, '[2025-01-01,)')""",
        values,
    )
    row = await (
        await conn.execute(
            """INSERT INTO parking_session (project_id, lot_id, plate, vehicle_class, entered_at, currency)
               VALUES (%(project)s, %(lot)s, %(plate)s, 'small', '2026-01-01', 'CNY') RETURNING id""",
            values,
        )
    ).fetchone()
    assert row is not None
    owner.rows |= {"parking_lot": lot.id, "parking_session": row["id"]}


@pytest.fixture
async def house(owner_db: Database, worker_db: Database, web_db: Database) -> House:
    """The sites by the services; the rows of the tables as columns demand, past checks and triggers."""
    here = await make_site(worker_db, 2, services=("property",), code="here")
    there = await make_site(worker_db, 1, services=("property",), code="there")
    for site in (here, there):
        await site.run(date(2026, 1, 1))
    async with worker_db.transaction(SYSTEM) as conn:
        owners = [await _base(conn, site, flat) for site in (here, there) for flat in site.flats]
    filling, keys = Filling(secrets.randbits(32)), {}
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("SET LOCAL session_replication_role = replica")
        for table in tables():
            checks = await (
                await conn.execute(
                    "SELECT conname FROM pg_constraint WHERE conrelid = %s::regclass AND contype = 'c'", (table,)
                )
            ).fetchall()
            for check in checks:
                drop = "ALTER TABLE {} DROP CONSTRAINT {}"
                await conn.execute(sql.SQL(drop).format(sql.Identifier(table), sql.Identifier(check["conname"])))
            columns = await filling.columns(conn, table)
            for owner in owners:
                if table in OF_THE_PROJECT and owner is owners[1]:
                    owner.rows[table] = owners[0].rows[table]
                    continue
                # Nobody has two shifts at once, or is of two merchants.
                alone = table in ("parking_shift", "merchant_link")
                own = {"user_id": 1 + owners.index(owner)} if alone else {}
                made = await insert(conn, table, filling.row(columns, owner) | own)
                assert made is not None
                keys[table] = KEYS.get(table) or (next(iter(made)) if "id" not in made else "id")
                owner.rows[table] = made[keys[table]]
    mine, neighbour, stranger = owners
    return House(owner_db, web_db, mine, neighbour, stranger, filling, keys)


async def test_nobody_sees_or_writes_what_is_not_his(house: House) -> None:
    found = {table: await house.holes(table) for table in tables()}
    assert {table: holes for table, holes in found.items() if holes} == {}
    assert len(found) > 15


async def test_a_wall_that_falls_is_seen(house: House) -> None:
    """Each policy opened to everybody or shut, and row-level security switched off, table by table."""
    seen = 0
    for table in tables():
        for policy in await _policies(house.owner_db, table):
            if policy.command == "w":
                continue  # nobody changes a row that another policy does not let him see
            assert await _opened(house, table, policy), (table, policy.name)
            # Another one lets staff see what is of no project yet; these rows all are of one.
            assert policy.name not in ("staff", "resident") or await _shut(house, table, policy), (table, policy.name)
            seen += 1
        await _do(house.owner_db, "ALTER TABLE {} DISABLE ROW LEVEL SECURITY", table)
        assert await house.holes(table), table
        await _do(house.owner_db, "ALTER TABLE {} ENABLE ROW LEVEL SECURITY", table)
        assert await house.holes(table) == []
    assert seen > 30


@dataclass(frozen=True)
class Policy:
    """A policy of a table for the web; `command`: r, a, w, d or * for all."""

    name: str
    command: str
    using: str | None
    check: str | None

    def said(self, using: str | None, check: str | None) -> str:
        """The clauses that this policy can have."""
        parts = [f"USING ({using})" if using is not None and self.using is not None else ""]
        return " ".join([*parts, f"WITH CHECK ({check})" if check is not None and self.check is not None else ""])


async def _policies(db: Database, table: str) -> list[Policy]:
    async with db.transaction(SYSTEM) as conn:
        rows = await (
            await conn.execute(
                """SELECT polname AS name, polcmd AS command, pg_get_expr(polqual, polrelid) AS using,
                          pg_get_expr(polwithcheck, polrelid) AS check
                   FROM pg_policy WHERE polrelid = %s::regclass AND 'gatemeter_web'::regrole = ANY (polroles)""",
                (table,),
            )
        ).fetchall()
    return [Policy(row["name"], str(row["command"]), row["using"], row["check"]) for row in rows]


async def _opened(house: House, table: str, policy: Policy) -> list[str]:
    return await _with(house, table, policy, "true")


async def _shut(house: House, table: str, policy: Policy) -> list[str]:
    return await _with(house, table, policy, "false")


async def _with(house: House, table: str, policy: Policy, condition: str) -> list[str]:
    """What is found while a policy says this instead."""
    alter = f"ALTER POLICY {policy.name} ON {{}} "
    await _do(house.owner_db, alter + policy.said(condition, condition), table)
    found = await house.holes(table)
    await _do(house.owner_db, alter + policy.said(policy.using, policy.check), table)
    return found


async def _do(db: Database, statement: str, table: str) -> None:
    async with db.transaction(SYSTEM) as conn:
        await conn.execute(statement.format(table).encode())
