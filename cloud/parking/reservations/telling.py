"""Reservations as gateways are told of them: who is awaited, in the transaction in which that changes."""

from datetime import datetime
from typing import Final

from cloud.devices import access
from cloud.kit.db import Conn
from cloud.kit.periods import in_ms
from cloud.parking.edge.serving import lots_of_gateways
from cloud.parking.reservations import repository
from gateway.contract.access import AccessEntry, GoneEntry, ReservationEntry

_KIND: Final = "reservation"


async def tell_reservations(conn: Conn, project_id: int, now: datetime) -> int:
    """Tells each gateway what changed of those who are awaited at its lots; returns how many have something new.

    Compared as a whole, so whoever calls it holds the lock of the project's reservations.
    """
    awaited = await repository.awaited(conn, project_id, now)
    told = 0
    for gateway_id, lots in sorted((await lots_of_gateways(conn, project_id)).items()):
        wanted = {
            str(id_): ReservationEntry(str(id_), plate, code, in_ms(since), in_ms(until))
            for id_, lot_id, code, plate, since, until in awaited
            if lot_id in lots
        }
        known = await access.known(conn, gateway_id, [_KIND])
        changes: list[AccessEntry] = [
            # Passes of visitors are told as reservations too, by other keys.
            GoneEntry(_KIND, key)
            for (_, key), holds in known.items()
            if holds and key.isdigit() and key not in wanted
        ]
        told += await access.tell(conn, project_id, [gateway_id], [*changes, *wanted.values()])
    return told
