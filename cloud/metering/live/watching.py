"""What a caller may watch live: the meters of a selection that he sees, and for residents from when to when."""

from dataclasses import dataclass
from typing import LiteralString

import numpy as np

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.metering import service
from cloud.metering.live.hub import Watched

# The same bounds as in the view `reading`: staff see all of a meter, residents what was taken while it was theirs.
_METERS: LiteralString = """
    SELECT m.id, coalesce((extract(epoch FROM mine.from_at) * 1000)::bigint, 0) AS from_ms,
           coalesce((extract(epoch FROM nullif(mine.until_at, 'infinity')) * 1000)::bigint, %(forever)s) AS until_ms
    FROM meter m LEFT JOIN unit u ON u.id = m.unit_id
    LEFT JOIN gm.my_meters() mine ON mine.meter_id = m.id AND gm.kind() = 'resident'
    WHERE m.project_id = %(project_id)s AND (gm.kind() = 'staff' OR mine.meter_id IS NOT NULL)
      AND (%(meter_id)s::bigint IS NULL OR m.id = %(meter_id)s)
      AND (%(unit_id)s::bigint IS NULL OR m.unit_id = %(unit_id)s)
      AND (%(building_id)s::bigint IS NULL OR u.building_id = %(building_id)s)
    ORDER BY m.id
"""
_FOREVER_MS = 2**62


@dataclass(frozen=True, slots=True)
class Place:
    """One project, building, unit or meter."""

    project_id: int | None = None
    building_id: int | None = None
    unit_id: int | None = None
    meter_id: int | None = None


async def watched(conn: Conn, place: Place) -> Watched:
    """What the asker of the transaction may watch of a place. Raises NotFound when he does not see the place."""
    project_id = await _project_of(conn, place)
    query = {
        "project_id": project_id,
        "building_id": place.building_id,
        "unit_id": place.unit_id,
        "meter_id": place.meter_id,
        "forever": _FOREVER_MS,
    }
    rows = await (await conn.execute(_METERS, query)).fetchall()
    columns = (np.array([row[name] for row in rows], np.int64) for name in ("id", "from_ms", "until_ms"))
    return Watched(project_id, *columns)


async def _project_of(conn: Conn, place: Place) -> int:
    if place.meter_id is not None:
        return (await service.get_meter(conn, place.meter_id)).project_id
    if place.unit_id is not None:
        unit = (await estate.units_by_id(conn, [place.unit_id])).get(place.unit_id)
        if unit is None:
            raise NotFound("no-such-unit", f"there is no unit {place.unit_id}", field="unit_id")
        return unit.project_id
    if place.building_id is not None:
        return (await estate.get_building(conn, place.building_id)).project_id
    assert place.project_id is not None
    return (await estate.get_project(conn, place.project_id)).id
