"""Which gateway has lanes of which lots: who has to be told what concerns a lot."""

from collections import defaultdict
from collections.abc import Collection

from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.parking.edge import repository as store


async def lots_of_gateways(conn: Conn, project_id: int) -> dict[int, set[int]]:
    """The lots of each gateway that has lanes in use, by ids."""
    lanes = await store.lanes(conn, project_id)
    barriers = await devices.devices_by_id(conn, {device_id for _, device_id in lanes})
    served: dict[int, set[int]] = defaultdict(set)
    for lot_id, device_id in lanes:
        served[barriers[device_id].gateway_id].add(lot_id)
    return served


async def lanes_of_gateways(conn: Conn, project_id: int, lane_ids: Collection[int]) -> dict[int, dict[int, str]]:
    """Of these lanes, those in use: by gateway the codes of their devices, by lane."""
    lanes = await store.barriers(conn, project_id, lane_ids)
    barriers = await devices.devices_by_id(conn, set(lanes.values()))
    found: dict[int, dict[int, str]] = defaultdict(dict)
    for lane_id, device_id in lanes.items():
        found[barriers[device_id].gateway_id][lane_id] = barriers[device_id].code
    return found
