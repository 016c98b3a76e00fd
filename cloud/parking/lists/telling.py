"""What gateways are told of the lists: what holds now or later, so that a list begins and ends without the cloud."""

from collections.abc import Iterable
from datetime import datetime
from typing import Final

from cloud.devices import access
from cloud.kit.db import Conn
from cloud.kit.periods import in_ms
from cloud.parking.edge.serving import lots_of_gateways
from cloud.parking.lists import repository
from cloud.parking.lists.records import Entry
from gateway.contract.access import AccessEntry, GoneEntry, ListEntry, Listing

KIND: Final = "list"
_PREFIX: Final = "plate-"
"""Of the keys of these entries: other features list plates too."""


async def tell_entry(conn: Conn, entry: Entry, now: datetime) -> None:
    """Tells the gateways of its lots of one entry that was made or ended. The caller has locked the lanes."""
    served = await lots_of_gateways(conn, entry.project_id)
    gateways = [gateway_id for gateway_id, lots in served.items() if _concerns(entry, lots)]
    await access.tell(conn, entry.project_id, gateways, [_told(entry, now)])


async def tell_lists(conn: Conn, project_id: int, now: datetime) -> int:
    """Tells every gateway what differs from what it was told; returns how many have something new.

    Needed where no entry changed: a lane more or less, a time that is over.
    """
    served = await lots_of_gateways(conn, project_id)
    await access.lock(conn, project_id, served)
    current = await repository.current(conn, project_id, now) if served else []
    told = 0
    for gateway_id in sorted(served):
        wanted: list[AccessEntry] = [_told(one, now) for one in current if _concerns(one, served[gateway_id])]
        keys = {entry.key for entry in wanted}
        known = await access.known(conn, gateway_id, [KIND])
        gone = [key for (_, key), holds in known.items() if holds and key.startswith(_PREFIX) and key not in keys]
        changes = [*(GoneEntry(KIND, key) for key in gone), *wanted]
        told += await access.tell(conn, project_id, [gateway_id], changes)
    return told


def _concerns(entry: Entry, lots: Iterable[int]) -> bool:
    return entry.lot_id is None or entry.lot_id in lots


def _told(entry: Entry, now: datetime) -> ListEntry | GoneEntry:
    key = f"{_PREFIX}{entry.id}"
    if entry.state(now) in ("over", "ended"):
        return GoneEntry(KIND, key)
    until = 0 if entry.valid_until is None else in_ms(entry.valid_until)
    return ListEntry(key, entry.plate, Listing(entry.listing), entry.lot_code or "", until, in_ms(entry.valid_from))
