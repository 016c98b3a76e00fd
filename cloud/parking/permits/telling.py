"""What gateways are told of permits, in the transaction of every change.

A gateway whose lanes become those of other lots is told all permits of these lots once, in chunks; each night every
gateway is compared with what it was told.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import msgspec

from cloud.devices import access
from cloud.kit.db import Conn
from cloud.kit.periods import in_ms
from cloud.parking.edge import repository as lanes_repository
from cloud.parking.edge.serving import lanes_of_gateways, lots_of_gateways
from cloud.parking.permits import repository, told_repository
from cloud.parking.permits.terms import Segment, Terms, segments
from gateway.contract.access import NEEDS_LANES, AccessEntry, GoneEntry, PermitEntry

KIND: Final = "permit"
CHUNK: Final = 1_000
"""Permits that are read, locked and told at once."""
_KEPT: Final = timedelta(days=30)
"""What is over is still told for so long: a stay that began under it may end now, and a lane may ask for a person."""
_MOST_ENTRIES: Final = 20
"""Of one permit: what is over gives way first; times to come beyond that are told as their time comes."""


@dataclass(frozen=True, slots=True)
class Entries:
    """What gateways are told of a permit, and the lanes by one of which vehicles have to come in; none: by any."""

    told: list[PermitEntry]
    lanes: frozenset[int]

    def at(self, devices: Mapping[int, str]) -> list[PermitEntry]:
        """The same for the gateway of these devices, by lane. A gateway with none of the lanes lets nobody in by it."""
        if not self.lanes:
            return self.told
        here = tuple(sorted(devices[one] for one in self.lanes if one in devices))
        return [msgspec.structs.replace(one, needs=(NEEDS_LANES,), lanes=here) for one in self.told]


async def tell(conn: Conn, project_id: int, permit_ids: Sequence[int], now: datetime) -> int:
    """Tells gateways with lanes of their lots what permits are like now; returns how many have something new.

    Called in the transaction that changed them, after they and the lanes were locked.
    """
    served = await lots_of_gateways(conn, project_id)
    if not served:
        return 0
    lots = await told_repository.lots_of(conn, permit_ids)
    entries = await _entries(conn, project_id, permit_ids, now)
    at_lanes = await _at_lanes(conn, project_id, entries)
    before = await told_repository.entries_told(conn, permit_ids)
    await told_repository.note_told(conn, project_id, {one: len(entries[one].told) for one in permit_ids})
    told = 0
    for gateway_id in sorted(served):
        mine = [one for one in permit_ids if lots.get(one, set()) & served[gateway_id]]
        gone = [_gone(one, number) for one in mine for number in range(len(entries[one].told), before.get(one, 0))]
        here = _all(entries[one].at(at_lanes.get(gateway_id, {})) for one in mine)
        told += await access.tell(conn, project_id, [gateway_id], [*gone, *here])
    return told


async def tell_lane(conn: Conn, project_id: int, lane_id: int, now: datetime) -> None:
    """Tells gateways of the permits that name a lane which came into use or went out of it, or did name it.

    The barrier of one that is out of use may be another lane's. The caller has locked the lanes: no permit changes
    meanwhile.
    """
    permit_ids = await repository.of_lane(conn, lane_id)
    for start in range(0, len(permit_ids), CHUNK):
        await tell(conn, project_id, permit_ids[start : start + CHUNK], now)


async def behind(conn: Conn, project_id: int, *, all_gateways: bool = False) -> dict[int, list[int]]:
    """By gateway its lots, where they are not those of whose permits it was told; or of all that have any to tell."""
    served = await lots_of_gateways(conn, project_id)
    known = await told_repository.served(conn, project_id)
    return {
        gateway_id: sorted(served.get(gateway_id, ()))
        for gateway_id in sorted(served.keys() | known.keys())
        if all_gateways or served.get(gateway_id, set()) != known.get(gateway_id, set())
    }


async def tell_chunk(
    conn: Conn, project_id: int, gateway_id: int, lot_ids: Sequence[int], after: int, now: datetime
) -> int | None:
    """Tells one gateway the next permits of its lots; returns the last of them, None when there are no more.

    The last chunk takes back what is told and of none of these lots any more, and notes that the gateway is up to date.
    """
    ids = await told_repository.permits_of_lots(conn, project_id, lot_ids, after, CHUNK)
    entries = await _entries(conn, project_id, ids, now)
    before = await told_repository.entries_told(conn, ids)
    gone = [_gone(one, number) for one in ids for number in range(len(entries[one].told), before.get(one, 0))]
    lanes = (await _at_lanes(conn, project_id, entries)).get(gateway_id, {})
    await access.tell(conn, project_id, [gateway_id], [*gone, *_all(one.at(lanes) for one in entries.values())])
    await told_repository.note_told(conn, project_id, {one: len(found.told) for one, found in entries.items()})
    if len(ids) == CHUNK:
        return ids[-1]
    await _take_back(conn, project_id, gateway_id, lot_ids)
    await told_repository.note_served(conn, project_id, gateway_id, lot_ids)
    return None


async def _take_back(conn: Conn, project_id: int, gateway_id: int, lot_ids: Sequence[int]) -> None:
    """Entries of permits of which no lot is one of these."""
    known = await access.known(conn, gateway_id, [KIND])
    keys = [key for (_, key), holds in known.items() if holds and _is_ours(key)]
    lots = await told_repository.lots_of(conn, sorted({_permit_of(key) for key in keys}))
    foreign = [key for key in keys if not lots.get(_permit_of(key), set()) & set(lot_ids)]
    for start in range(0, len(foreign), CHUNK):
        gone = [GoneEntry(KIND, key) for key in foreign[start : start + CHUNK]]
        await access.tell(conn, project_id, [gateway_id], gone)


async def _entries(conn: Conn, project_id: int, permit_ids: Sequence[int], now: datetime) -> dict[int, Entries]:
    """By permit what gateways are to hold of it."""
    found = await repository.terms(conn, project_id, permits=permit_ids)
    lot_ids = sorted({lot_id for terms in found for lot_id in terms.lots})
    codes = {lot.id: lot.code for lot in await lanes_repository.lots(conn, lot_ids)}
    entries = {one: Entries([], frozenset()) for one in permit_ids}
    for terms in found:
        lots = tuple(sorted(codes[lot_id] for lot_id in terms.lots))
        entries[terms.permit_id] = Entries(entries_of(terms, lots, now), terms.lanes_at(now))
    return entries


async def _at_lanes(conn: Conn, project_id: int, entries: Mapping[int, Entries]) -> dict[int, dict[int, str]]:
    """By gateway its devices at the lanes in use that permits name, by lane."""
    named = {lane_id for one in entries.values() for lane_id in one.lanes}
    return await lanes_of_gateways(conn, project_id, named) if named else {}


def entries_of(terms: Terms, lots: tuple[str, ...], now: datetime) -> list[PermitEntry]:
    """What gateways are to hold of one permit of these lots at `now`."""
    current = [one for one in segments(terms) if one.end > now - _KEPT]
    over = sum(1 for one in current if one.end <= now)
    first = min(over, max(0, len(current) - _MOST_ENTRIES))
    return [
        _entry(f"{terms.permit_id}-{number}", segment, terms, lots)
        for number, segment in enumerate(current[first : first + _MOST_ENTRIES])
    ]


def _entry(key: str, segment: Segment, terms: Terms, lots: tuple[str, ...]) -> PermitEntry:
    valid_to = in_ms(segment.valid_to)
    return PermitEntry(
        key=key,
        plates=segment.plates,
        valid_from=in_ms(segment.start),
        valid_to=valid_to,
        grace_ms=in_ms(segment.end) - valid_to,
        spaces=terms.spaces,
        lots=lots,
        vehicle_class=segment.vehicle_class,
    )


def _gone(permit_id: int, number: int) -> GoneEntry:
    return GoneEntry(KIND, f"{permit_id}-{number}")


def _is_ours(key: str) -> bool:
    """Passes of visitors are told as permits too, by other keys."""
    return key[:1].isdigit()


def _permit_of(key: str) -> int:
    return int(key.partition("-")[0])


def _all(entries: Iterable[Sequence[PermitEntry]]) -> list[AccessEntry]:
    return [entry for some in entries for entry in some]
