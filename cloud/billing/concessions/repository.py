"""SQL of concessions: filed, approved, ended, and those that may apply to some charges."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, LiteralString

from cloud.billing.concessions.reductions import Concession
from cloud.kit.db import Conn
from cloud.kit.periods import Period


@dataclass(frozen=True, slots=True)
class ConcessionRow:
    """A concession as it is filed: what it says, whom it is for, why, who filed it and who approved it."""

    terms: Concession
    project_id: int
    account_id: int | None
    agreement_id: int | None
    unit_id: int | None
    reason: str
    created_by: int | None
    approved_by: int | None
    approved_at: datetime | None
    approval: str | None

    @property
    def valid_until(self) -> date | None:
        """The first day without it; None where no end is filed."""
        return None if self.terms.valid.end == date.max else self.terms.valid.end


@dataclass(frozen=True, slots=True)
class ConcessionFilter:
    """Which concessions are wanted; None: any. `open_only`: those that nobody has approved."""

    project_id: int | None = None
    account_id: int | None = None
    agreement_id: int | None = None
    unit_id: int | None = None
    rule: str | None = None
    open_only: bool = False


@dataclass(frozen=True, slots=True)
class ChargedAlready:
    """An account that is charged for some days; `since`: its first such charge begins; `drafted`: by a draft too."""

    account_id: int
    since: date
    drafted: bool


_COLUMNS: LiteralString = """
    c.id, c.project_id, c.account_id, c.agreement_id, c.unit_id, c.rule, c.name, c.kind, c.value, c.services,
    c.components, lower(c.valid) AS valid_from, upper(c.valid) AS valid_until, c.position, c.reason, c.created_by,
    c.approved_by, c.approved_at, c.approval
"""
_INSERT: LiteralString = """
    INSERT INTO concession AS c (project_id, account_id, agreement_id, unit_id, rule, name, kind, value, services,
                                 components, valid, position, reason, created_by)
    VALUES (%(project_id)s, %(account_id)s, %(agreement_id)s, %(unit_id)s, %(rule)s, %(name)s, %(kind)s, %(value)s,
            %(services)s, %(components)s, daterange(%(valid_from)s, %(valid_until)s), %(position)s, %(reason)s,
            %(created_by)s)
    RETURNING {columns}
""".replace("{columns}", _COLUMNS)
_SELECT: LiteralString = "SELECT {columns} FROM concession c ".replace("{columns}", _COLUMNS)
_LIST: LiteralString = """
    SELECT {columns} FROM concession c
    WHERE (%(project_id)s::bigint IS NULL OR c.project_id = %(project_id)s)
      AND (%(account_id)s::bigint IS NULL OR c.account_id = %(account_id)s
           OR c.agreement_id IN (SELECT id FROM service_agreement WHERE account_id = %(account_id)s)
           OR c.unit_id IN (SELECT coalesce(s.unit_id, a.unit_id)
                            FROM account a LEFT JOIN service_agreement s ON s.account_id = a.id
                            WHERE a.id = %(account_id)s))
      AND (%(agreement_id)s::bigint IS NULL OR c.agreement_id = %(agreement_id)s)
      AND (%(unit_id)s::bigint IS NULL OR c.unit_id = %(unit_id)s)
      AND (%(rule)s::text IS NULL OR c.rule = %(rule)s)
      AND (NOT %(open_only)s OR c.approved_at IS NULL)
      AND c.id > %(after)s
    ORDER BY c.id LIMIT %(limit)s
""".replace("{columns}", _COLUMNS)
# One index each, rather than a condition with OR that reads the whole table.
_APPLYING: LiteralString = """
    SELECT {columns} FROM concession c
    WHERE c.approved_at IS NOT NULL AND c.valid && daterange(%(start)s, %(end)s) AND c.id IN (
        SELECT id FROM concession WHERE account_id = ANY (%(account_ids)s)
        UNION ALL SELECT id FROM concession WHERE agreement_id = ANY (%(agreement_ids)s)
        UNION ALL SELECT id FROM concession WHERE unit_id = ANY (%(unit_ids)s))
    ORDER BY c.position, c.id
""".replace("{columns}", _COLUMNS)
# Everything that a package contains is paid by its price: nothing of it is left to pay while it holds.
_PACKAGES: LiteralString = """
    SELECT a.account_id, a.id, a.description, lower(a.valid) AS valid_from, upper(a.valid) AS valid_until, r.contains
    FROM service_agreement a JOIN rent_term r ON r.agreement_id = a.id
    WHERE a.kind = 'package' AND a.account_id = ANY (%(account_ids)s) AND a.valid && daterange(%(start)s, %(end)s)
    ORDER BY a.id
"""
# Accounts whose bills and drafts charge days for which a concession holds, and the first of these days.
_CHARGED_ALREADY: LiteralString = """
    SELECT b.account_id, min(lower(c.period)) AS since, bool_or(b.state = 'draft') AS drafted
    FROM charge c JOIN bill b ON b.id = c.bill_id AND b.state <> 'void'
    JOIN service_agreement s ON s.id = c.agreement_id JOIN account a ON a.id = s.account_id
    WHERE c.period && daterange(%(valid_from)s, %(valid_until)s)
      AND (s.id = %(agreement_id)s OR s.account_id = %(account_id)s OR coalesce(s.unit_id, a.unit_id) = %(unit_id)s)
      AND s.project_id = %(project_id)s
    GROUP BY b.account_id ORDER BY b.account_id
"""
_APPROVE: LiteralString = """
    UPDATE concession SET approved_by = %(by)s, approved_at = now(), approval = %(approval)s WHERE id = %(id)s
"""
# What charges have taken off already, as they stand now: a concession is not ended before it. An adjustment may have
# taken it off, or given it up again.
_APPLIED_UNTIL: LiteralString = """
    SELECT max(least(upper(c.period), upper(o.valid))) AS day
    FROM concession o
    JOIN service_agreement s ON s.project_id = o.project_id
    JOIN account a ON a.id = s.account_id
     AND (s.id = o.agreement_id OR s.account_id = o.account_id OR coalesce(s.unit_id, a.unit_id) = o.unit_id)
    JOIN charge c ON c.agreement_id = s.id AND c.period && o.valid
    LEFT JOIN LATERAL (SELECT lines FROM adjustment WHERE charge_id = c.id ORDER BY revision DESC LIMIT 1) r ON true
    WHERE o.id = %(id)s
      AND CASE WHEN r.lines IS NULL
               THEN EXISTS (SELECT FROM bill_line l WHERE l.charge_id = c.id AND l.kind = 'discount'
                            AND l.detail ->> 'concession' = o.id::text)
               ELSE EXISTS (SELECT FROM jsonb_array_elements(r.lines) l WHERE l ->> 'kind' = 'discount'
                            AND l -> 'detail' ->> 'concession' = o.id::text) END
"""


async def insert(conn: Conn, values: Mapping[str, object]) -> ConcessionRow:
    """A new concession that nobody has approved."""
    return _row((await _rows(conn, _INSERT, values))[0])


async def concessions(conn: Conn, wanted: ConcessionFilter, *, after: int, limit: int) -> list[ConcessionRow]:
    """Concessions by id; of an account also those of its agreements and units."""
    values = {
        "project_id": wanted.project_id,
        "account_id": wanted.account_id,
        "agreement_id": wanted.agreement_id,
        "unit_id": wanted.unit_id,
        "rule": wanted.rule,
        "open_only": wanted.open_only,
        "after": after,
        "limit": limit,
    }
    return [_row(row) for row in await _rows(conn, _LIST, values)]


async def locked(conn: Conn, concession_id: int) -> ConcessionRow | None:
    """One concession, locked."""
    rows = await _rows(conn, _SELECT + "WHERE c.id = %s FOR UPDATE", (concession_id,))
    return _row(rows[0]) if rows else None


async def concession(conn: Conn, concession_id: int) -> ConcessionRow | None:
    """One concession."""
    rows = await _rows(conn, _SELECT + "WHERE c.id = %s", (concession_id,))
    return _row(rows[0]) if rows else None


async def applying(
    conn: Conn, account_ids: Sequence[int], agreement_ids: Sequence[int], unit_ids: Sequence[int], span: Period
) -> list[ConcessionRow]:
    """Approved concessions for these accounts, agreements and units on some day of `span`."""
    values = {
        "account_ids": list(account_ids),
        "agreement_ids": list(agreement_ids),
        "unit_ids": list(unit_ids),
        "start": span.start,
        "end": span.end,
    }
    return [_row(row) for row in await _rows(conn, _APPLYING, values)]


async def packages(conn: Conn, account_ids: Sequence[int], span: Period) -> list[tuple[int, Concession]]:
    """Packages of these accounts on some day of `span`, as what takes all off that they contain, with the account."""
    rows = await _rows(conn, _PACKAGES, {"account_ids": list(account_ids), "start": span.start, "end": span.end})
    return [
        (
            row["account_id"],
            Concession(
                id=row["id"],
                rule="package",
                name=row["description"],
                kind="percent",
                value=Decimal(100),
                valid=Period(row["valid_from"], row["valid_until"]),
                position=0,
                services=tuple(row["contains"]),
            ),
        )
        for row in rows
    ]


async def charged_already(
    conn: Conn,
    project_id: int,
    valid: Period,
    *,
    account_id: int | None = None,
    agreement_id: int | None = None,
    unit_id: int | None = None,
) -> list[ChargedAlready]:
    """Accounts that are charged for days of `valid`, for the account, agreement or unit."""
    values = {
        "project_id": project_id,
        "valid_from": valid.start,
        "valid_until": valid.end,
        "account_id": account_id,
        "agreement_id": agreement_id,
        "unit_id": unit_id,
    }
    return [ChargedAlready(**row) for row in await _rows(conn, _CHARGED_ALREADY, values)]


async def approve(conn: Conn, concession_id: int, by: int | None, approval: str) -> None:
    """Marks a concession as approved."""
    await conn.execute(_APPROVE, {"id": concession_id, "by": by, "approval": approval})


async def applied_until(conn: Conn, concession_id: int) -> date | None:
    """The day up to which bills, drafts and adjustments take it off; None where none does."""
    day: date | None = (await _rows(conn, _APPLIED_UNTIL, {"id": concession_id}))[0]["day"]
    return day


async def end(conn: Conn, concession_id: int, day: date) -> None:
    """Ends a concession: `day` is the first day without it."""
    await conn.execute("UPDATE concession SET valid = daterange(lower(valid), %s) WHERE id = %s", (day, concession_id))


async def delete(conn: Conn, concession_id: int) -> None:
    """Deletes a concession that nobody has approved."""
    await conn.execute("DELETE FROM concession WHERE id = %s", (concession_id,))


def _row(row: dict[str, Any]) -> ConcessionRow:
    valid = Period(row.pop("valid_from"), row.pop("valid_until") or date.max)
    names = ("id", "rule", "name", "kind", "value", "position")
    terms = {name: row.pop(name) for name in names}
    services, components = tuple(row.pop("services")), tuple(row.pop("components"))
    return ConcessionRow(terms=Concession(valid=valid, services=services, components=components, **terms), **row)


async def _rows(
    conn: Conn, query: LiteralString, values: Sequence[object] | Mapping[str, object]
) -> list[dict[str, Any]]:
    return await (await conn.execute(query, values)).fetchall()
