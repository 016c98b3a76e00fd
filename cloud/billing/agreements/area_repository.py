"""SQL of billed floor areas by date, and the areas as charges go by them."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import LiteralString

from cloud.billing.agreements.rents import AreaStep
from cloud.kit.db import Conn

_COLUMNS: LiteralString = "id, project_id, unit_id, from_day, area, reason, created_by"
_INSERT: LiteralString = """
    INSERT INTO billed_area (project_id, unit_id, from_day, area, reason, created_by)
    VALUES (%(project_id)s, %(unit_id)s, %(from_day)s, %(area)s, %(reason)s, %(created_by)s)
    RETURNING {columns}
""".replace("{columns}", _COLUMNS)
_LIST: LiteralString = """
    SELECT {columns} FROM billed_area
    WHERE (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(unit_id)s::bigint IS NULL OR unit_id = %(unit_id)s) AND id > %(after)s
    ORDER BY id LIMIT %(limit)s
""".replace("{columns}", _COLUMNS)
# An agreement with an area of its own goes by that alone; before the first filing by what the unit says.
_OF_AGREEMENTS: LiteralString = """
    SELECT a.id, NULL::date AS from_day, a.area FROM service_agreement a
    WHERE a.id = ANY (%(ids)s) AND a.area IS NOT NULL
    UNION ALL
    SELECT a.id, NULL, u.area
    FROM service_agreement a JOIN account o ON o.id = a.account_id JOIN unit u ON u.id = coalesce(a.unit_id, o.unit_id)
    WHERE a.id = ANY (%(ids)s) AND a.area IS NULL AND u.area > 0
    UNION ALL
    SELECT a.id, f.from_day, f.area
    FROM service_agreement a JOIN account o ON o.id = a.account_id
    JOIN billed_area f ON f.unit_id = coalesce(a.unit_id, o.unit_id)
    WHERE a.id = ANY (%(ids)s) AND a.area IS NULL
    ORDER BY 1, 2 NULLS FIRST
"""


@dataclass(frozen=True, slots=True)
class BilledArea:
    """The floor area of a unit in m² as it is billed from a day on, and why it was filed."""

    id: int
    project_id: int
    unit_id: int
    from_day: date
    area: Decimal
    reason: str
    created_by: int | None


async def insert(conn: Conn, values: Mapping[str, object]) -> BilledArea:
    """A new filing. Raises psycopg UniqueViolation where one is filed from the same day."""
    row = await (await conn.execute(_INSERT, values)).fetchone()
    assert row is not None
    return BilledArea(**row)


async def areas(conn: Conn, *, project_id: int | None, unit_id: int | None, after: int, limit: int) -> list[BilledArea]:
    """Filings by id."""
    values = {"project_id": project_id, "unit_id": unit_id, "after": after, "limit": limit}
    return [BilledArea(**row) for row in await (await conn.execute(_LIST, values)).fetchall()]


async def of_agreements(conn: Conn, agreement_ids: Sequence[int]) -> dict[int, tuple[AreaStep, ...]]:
    """The floor areas that these agreements go by, in the order of time; absent where none is known."""
    found: dict[int, list[AreaStep]] = defaultdict(list)
    for row in await (await conn.execute(_OF_AGREEMENTS, {"ids": list(agreement_ids)})).fetchall():
        found[row["id"]].append(AreaStep(row["from_day"] or date.min, row["area"]))
    return {agreement_id: tuple(steps) for agreement_id, steps in found.items()}


def on(steps: Sequence[AreaStep], day: date) -> Decimal:
    """The area of a day; 0 where none is known."""
    return next((step.area for step in reversed(steps) if step.from_day <= day), Decimal(0))
