"""What gateways are told: lots and stays as the job of a minute tells them, and all that waits for them."""

from datetime import datetime

from cloud.devices import access
from cloud.kit.db import SYSTEM, Database
from cloud.parking.edge.telling import tell_in_turn
from gateway.contract.access import AccessEntry


async def tell(db: Database, project_id: int, now: datetime) -> int:
    """Tells what changed of lots and stays, as it stands at `now`; returns of how many steps. Takes two connections."""
    async with db.transaction(SYSTEM) as conn:
        return await tell_in_turn(conn, db, SYSTEM, project_id, now)


async def heard(db: Database) -> list[AccessEntry]:
    """All that waits for the gateways, which counts as sent from then on."""
    entries: list[AccessEntry] = []
    async with db.transaction(SYSTEM) as conn:
        for due in await access.take_due(conn, 10):
            entries.extend(await access.entries_of(conn, due))
            await access.mark_sent(conn, due)
    return entries
