"""Which gateway has lanes of which lots: who has to be told what concerns a lot."""

from collections import defaultdict

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
