"""SQL of the stays that somebody means to pay by a provider."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from decimal import Decimal
from typing import LiteralString

from psycopg.types.json import Jsonb

from cloud.kit.db import Conn
from cloud.parking.charging.repository import open_stays
from cloud.payments.intent_records import Intent

__all__ = ["IntentStay", "insert_stays", "open_of_stays", "open_stays", "stays_of"]

_INSERT: LiteralString = """
    INSERT INTO parking_intent_stay (project_id, intent_id, session_id, lot_id, plate, amount, paid_until)
    SELECT %(project_id)s, %(intent_id)s, session_id, lot_id, plate, amount, paid_until
    FROM jsonb_to_recordset(%(rows)s) AS new (session_id bigint, lot_id bigint, plate text, amount numeric,
                                              paid_until timestamptz)
"""
_STAYS: LiteralString = """
    SELECT session_id, lot_id, plate, amount, paid_until FROM parking_intent_stay WHERE intent_id = %s ORDER BY id
"""
_OPEN_OF: LiteralString = """
    SELECT DISTINCT i.id FROM parking_intent_stay s JOIN payment_intent i ON i.id = s.intent_id
    WHERE s.session_id = ANY (%s) AND i.state IN ('created', 'pending') ORDER BY i.id
"""


@dataclass(frozen=True, slots=True)
class IntentStay:
    """A stay to be paid up to `paid_until`; `session_id` None: it turned out to be no stay of its own."""

    session_id: int | None
    lot_id: int
    plate: str
    amount: Decimal
    paid_until: datetime


async def insert_stays(conn: Conn, intent: Intent, stays: Sequence[IntentStay]) -> None:
    """For which stays an intent is."""
    rows = Jsonb([asdict(stay) for stay in stays])
    await conn.execute(_INSERT, {"project_id": intent.project_id, "intent_id": intent.id, "rows": rows})


async def stays_of(conn: Conn, intent_id: int) -> list[IntentStay]:
    """The stays of an intent in the order in which its money goes to them."""
    return [IntentStay(**row) for row in await (await conn.execute(_STAYS, (intent_id,))).fetchall()]


async def open_of_stays(conn: Conn, session_ids: Sequence[int]) -> list[int]:
    """Intents for any of these stays that can still be paid."""
    return [row["id"] for row in await (await conn.execute(_OPEN_OF, (list(session_ids),))).fetchall()]
