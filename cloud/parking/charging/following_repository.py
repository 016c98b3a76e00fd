"""SQL of money that goes from stays that cost less than was paid for them to others of the same plate."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

from cloud.kit.db import Conn
from cloud.parking.charging.debt_repository import PaidPart

# Nobody knows what a stay costs of which an end is missing: those that changed are looked at for what was paid for time
# after their end.
_GIVERS: LiteralString = """
    SELECT id, project_id, plate, currency, left_at, -unpaid AS surplus FROM parking_session
    WHERE project_id = %(project_id)s AND plate = ANY (%(plates)s::text[]) AND plate <> '' AND unpaid < 0
    UNION ALL
    SELECT id, project_id, plate, currency, left_at, NULL FROM parking_session s
    WHERE id = ANY (%(changed)s::bigint[]) AND plate <> '' AND state = 'unmatched' AND fee IS NULL
      AND EXISTS (SELECT FROM parking_payment p WHERE p.session_id = s.id AND p.paid_until > s.left_at)
    ORDER BY left_at, id
"""
# First the stay of the time up to which the money was paid, then debts; one that goes on only if it is the first.
_TAKERS: LiteralString = """
    SELECT s.id
    FROM parking_session s,
         LATERAL (SELECT coalesce(s.entered_at <= %(paid_until)s
                                  AND coalesce(s.left_at, 'infinity') >= %(paid_until)s, false) AS then_inside) AS t
    WHERE s.project_id = %(project_id)s AND s.plate = %(plate)s AND s.currency = %(currency)s AND s.id <> %(id)s
      AND (s.unpaid > 0 AND (t.then_inside OR %(surplus)s::numeric IS NOT NULL) OR s.state = 'open' AND t.then_inside)
    ORDER BY t.then_inside DESC, s.left_at, s.id
"""
_SPLIT: LiteralString = """
    INSERT INTO parking_payment (project_id, payment_id, session_id, amount, tax, tax_percent, paid_until)
    SELECT project_id, payment_id, %(session_id)s, %(amount)s, %(tax)s, tax_percent, %(paid_until)s
    FROM parking_payment WHERE id = %(id)s
"""


@dataclass(frozen=True, slots=True)
class Giver:
    """A stay that is over and has money to give: its surplus, or None where nobody knows what it costs."""

    id: int
    project_id: int
    plate: str
    currency: str
    left_at: datetime
    surplus: Decimal | None


async def givers(conn: Conn, project_id: int, plates: Sequence[str], changed: Sequence[int]) -> list[Giver]:
    """Stays of the plates that cost less than was paid, and those that `changed` and that nobody can price."""
    values = {"project_id": project_id, "plates": plates, "changed": changed}
    return [Giver(**row) for row in await (await conn.execute(_GIVERS, values)).fetchall()]


async def takers(conn: Conn, giver: Giver, paid_until: datetime) -> list[int]:
    """Other stays of the plate that money may pay which was paid up to then, in the order in which they get it."""
    values = {**asdict(giver), "paid_until": paid_until}
    return [row["id"] for row in await (await conn.execute(_TAKERS, values)).fetchall()]


async def move_part(
    conn: Conn, part: PaidPart, session_id: int, amount: Decimal, tax: Decimal, paid_until: datetime
) -> None:
    """What a payment paid of a stay, or `amount` of it with the `tax` in it, pays another."""
    if amount == part.amount:
        query = "UPDATE parking_payment SET session_id = %s, paid_until = %s WHERE id = %s"
        await conn.execute(query, (session_id, paid_until, part.id))
        return
    values = {"id": part.id, "session_id": session_id, "amount": amount, "tax": tax, "paid_until": paid_until}
    await conn.execute(_SPLIT, values)
    query = "UPDATE parking_payment SET amount = amount - %s, tax = tax - %s WHERE id = %s"
    await conn.execute(query, (amount, tax, part.id))
