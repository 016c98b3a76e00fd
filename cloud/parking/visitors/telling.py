"""Visitor passes as gateways are told of them: a free one as a permit, one that is not as a reservation."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final

from cloud.devices import access
from cloud.kit.db import Conn
from cloud.kit.periods import in_ms
from cloud.parking.edge import repository as edge
from cloud.parking.edge.serving import lots_of_gateways
from cloud.parking.visitors import repository
from cloud.parking.visitors.records import VisitorPass
from gateway.contract.access import AccessEntry, GoneEntry, PermitEntry, ReservationEntry

_AHEAD: Final = timedelta(days=8)
"""So long before they begin: a gateway without the cloud knows the visitors of a week."""
_KINDS: Final = ("permit", "reservation")
_PREFIX: Final = "pass-"
"""Permits and reservations of others have other keys."""


async def tell_passes(conn: Conn, project_id: int, now: datetime) -> int:
    """Tells gateways what changed of visitor passes at their lots; returns how many have something new."""
    served = await lots_of_gateways(conn, project_id)
    await access.lock(conn, project_id, served)
    holding = await repository.passes_between(conn, project_id, now, now + _AHEAD)
    codes = {
        lot.id: lot.code for lot in await edge.lots(conn, sorted({one for lots in served.values() for one in lots}))
    }
    told = 0
    for gateway_id, lots in sorted(served.items()):
        here = {lot_id: codes[lot_id] for lot_id in sorted(lots)}
        wanted = [entry for one in holding for entry in _entries(one, here)]
        names = {(str(entry.__struct_config__.tag), entry.key) for entry in wanted}
        known = await access.known(conn, gateway_id, _KINDS)
        gone = [
            GoneEntry(kind, key)
            for (kind, key), holds in known.items()
            if holds and key.startswith(_PREFIX) and (kind, key) not in names
        ]
        told += await access.tell(conn, project_id, [gateway_id], [*gone, *wanted])
    return told


def _entries(one: VisitorPass, lots: Mapping[int, str]) -> list[AccessEntry]:
    """What a gateway with these lots hears of a pass."""
    here = {lot_id: lots[lot_id] for lot_id in one.lots if lot_id in lots}
    since, until = in_ms(one.since), in_ms(one.until)
    if one.free and here:
        return [PermitEntry(f"{_PREFIX}{one.id}", (one.plate,), since, until, lots=tuple(here.values()))]
    return [
        ReservationEntry(f"{_PREFIX}{one.id}-{lot_id}", one.plate, code, since, until) for lot_id, code in here.items()
    ]
