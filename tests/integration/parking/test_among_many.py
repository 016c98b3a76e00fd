"""What a lane tells is found among all that lanes ever told, by indexes: nothing reads the years before."""

import asyncio
from datetime import timedelta
from typing import Final, LiteralString

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.parking import service
from gateway.contract.messages import Passage
from tests.integration.parking.past import fill
from tests.integration.parking.site import GATEWAY, NOON, Site

_STAYS: Final = 20_000
_LANES: Final = 60
# Of this transaction alone, whatever else the server does.
_READ_WHOLE: LiteralString = """
    SELECT relname, seq_tup_read FROM pg_stat_xact_user_tables
    WHERE relname IN ('passage', 'parking_session') AND seq_tup_read > 0
"""


async def more_lanes(db: Database, site: Site) -> list[str]:
    """Names of entry lanes beside the two of the site."""
    names = [f"lane-{number}" for number in range(_LANES)]
    async with db.transaction(SYSTEM) as conn:
        [gateway_id] = (await devices.resolve_gateways(conn, [(site.project_id, GATEWAY)])).values()
        for name in names:
            device = await devices.create_device(conn, site.project_id, gateway_id, name, "barrier")
            await service.create_lane(conn, site.lot_id, name, name, "entry", device.id)
    return names


def told_by(site: Site, lane: str, number: int) -> Passage:
    return site.passage(lane, f"京{number * 7919:07}", NOON + timedelta(seconds=number))


async def test_what_all_lanes_tell_at_once_reads_no_table_of_passages_whole(ingest_db: Database, site: Site) -> None:
    lanes = await more_lanes(ingest_db, site)
    await asyncio.to_thread(fill, ingest_db.dsn, NOON - timedelta(days=1), _STAYS)
    told = [told_by(site, lane, number) for number, lane in enumerate(lanes)]
    leaving = [site.passage("exit", one.plate, NOON + timedelta(hours=1), "arrived") for one in told]
    for passages in (told, leaving):
        async with ingest_db.transaction(SYSTEM) as conn:
            done = await service.apply_passages(conn, site.project_id, GATEWAY, passages, NOON + timedelta(hours=1))
            read = await (await conn.execute(_READ_WHOLE)).fetchall()
        assert (done.stored, read) == (_LANES, [])
