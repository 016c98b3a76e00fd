"""Which gateway has lanes of which lots: who has to be told what concerns a lot."""

from collections import defaultdict

from cloud.devices import service as devices
from cloud.kit.db import Conn
from cloud.parking.edge import repository as store


async def lots_of_gateways(conn: Conn, project_id: int) -> dict[int, set[int]]:
    """The lots of each gateway that has lanes in use, by ids."""
    served: dict[int, set[int]] = defaultdict(set)
    for lot_id, device_id in await store.lanes(conn, project_id):
        served[(await devices.get_device(conn, device_id)).gateway_id].add(lot_id)
    return served
