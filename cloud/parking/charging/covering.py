"""When stays cost nothing: permits, visitors' passes, white lists, and lots around or inside theirs say so."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import LiteralString, Protocol

from cloud.kit.db import Conn
from cloud.parking.fees.circumstances import CoveredTime
from cloud.parking.lists import covering as lists
from cloud.parking.permits import covering as permits
from cloud.parking.records import Cover
from cloud.parking.visitors import covering as visitors

LONGEST = timedelta(days=1100)
"""No stay that can be priced is longer."""

# Time of a nested stay that the other one of the two prices.
_ELSEWHERE: LiteralString = """
    SELECT s.id, lower(r.span) AS start, upper(r.span) AS "end"
    FROM parking_session s CROSS JOIN LATERAL unnest(s.covered) AS r (span)
    WHERE s.id = ANY (%s::bigint[]) ORDER BY s.id, start
"""


class Parked(Protocol):
    """A stay as it is stored; its entry was seen."""

    @property
    def id(self) -> int: ...

    @property
    def lot_id(self) -> int: ...

    @property
    def plate(self) -> str: ...

    @property
    def entered_at(self) -> datetime | None: ...


class Unseen(Parked, Protocol):
    """A vehicle at an exit that nobody saw come in; `entered_at` is when it stood there, None when it just left."""

    @property
    def vehicle_class(self) -> str: ...

    @property
    def left_at(self) -> datetime | None: ...


async def covering(conn: Conn, project_id: int, stays: Sequence[Parked]) -> dict[int, list[CoveredTime]]:
    """By id of the stay, in no order and perhaps overlapping; stays that nothing covers are missing.

    All stays of the plates, and of those that share spaces with them, must be stored before.
    """
    entries = [stay.entered_at for stay in stays if stay.entered_at is not None]
    if not entries:
        return {}
    since, until = min(entries), max(entries) + LONGEST
    plates = sorted({stay.plate for stay in stays} - {""})
    by_plate: dict[str, list[tuple[int | None, CoveredTime]]] = defaultdict(list)
    for plate, permitted in (await permits.covered(conn, project_id, plates, since, until)).items():
        for one in permitted:
            names = " ".join(Cover("permit", permit_id).name for permit_id in one.permits)
            by_plate[plate].append((one.lot_id, CoveredTime(one.start, one.end, names)))
    for plate, invited in (await visitors.covered(conn, project_id, plates, since, until)).items():
        by_plate[plate] += [
            (one.lot_id, CoveredTime(one.start, one.end, Cover("pass", one.pass_id).name)) for one in invited
        ]
    for plate, listed in (await lists.white_times(conn, project_id, plates, since, until)).items():
        by_plate[plate] += [
            (one.lot_id, CoveredTime(one.start, one.end or until, Cover("list", one.entry_id).name)) for one in listed
        ]
    found: dict[int, list[CoveredTime]] = {}
    for stay in stays:
        mine = [time for lot_id, time in by_plate.get(stay.plate, ()) if lot_id in (None, stay.lot_id)]
        if mine:
            found[stay.id] = mine
    for row in await (await conn.execute(_ELSEWHERE, ([stay.id for stay in stays],))).fetchall():
        found.setdefault(row["id"], []).append(CoveredTime(row["start"], row["end"] or until, Cover("other-lot").name))
    return found


async def covering_unseen(conn: Conn, project_id: int, stays: Sequence[Unseen]) -> dict[int, Cover]:
    """By id of the stay what covers its vehicle at the exit; those that nothing covers are missing.

    Lanes let it out by a permit, a pass and the white list although nobody knows how long it was there.
    """
    at = {stay.id: moment for stay in stays if (moment := stay.entered_at or stay.left_at) and stay.plate}
    if not at:
        return {}
    plates, since, until = sorted({stay.plate for stay in stays} - {""}), min(at.values()), max(at.values())
    moments = {(stay.plate, stay.vehicle_class, stay.lot_id, at[stay.id]) for stay in stays if stay.id in at}
    permitted = await permits.holding(conn, project_id, moments)
    invited = await visitors.covered(conn, project_id, plates, since, until)
    listed = await lists.white_times(conn, project_id, plates, since, until + timedelta(microseconds=1))
    found: dict[int, Cover] = {}
    for stay in stays:
        moment = at.get(stay.id)
        if moment is None:
            continue
        permit_id = permitted.get((stay.plate, stay.vehicle_class, stay.lot_id, moment))
        covers = [] if permit_id is None else [Cover("permit", permit_id)]
        covers += [
            Cover("pass", one.pass_id)
            for one in invited.get(stay.plate, ())
            if one.lot_id == stay.lot_id and one.start <= moment < one.end
        ]
        covers += [
            Cover("list", one.entry_id)
            for one in listed.get(stay.plate, ())
            if one.lot_id in (None, stay.lot_id) and one.start <= moment and (one.end is None or moment < one.end)
        ]
        if covers:
            found[stay.id] = covers[0]
    return found
