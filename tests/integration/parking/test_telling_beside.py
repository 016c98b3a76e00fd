"""Permits, reservations and visitors' passes are told beside each other: nobody withdraws what another one told."""

from datetime import timedelta

from cloud.devices import access
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.parking.permits import telling as permits
from cloud.parking.reservations import telling as reservations
from cloud.parking.visitors import service as visitors
from cloud.parking.visitors.service import WantedPass
from cloud.parking.visitors.telling import tell_passes
from tests.integration.parking.permits.holder import FIRST, make_permit
from tests.integration.parking.site import NOON, Site

HOUR = timedelta(hours=1)


async def test_what_one_told_the_others_leave_alone(worker_db: Database, site: Site) -> None:
    await make_permit(worker_db, site, (FIRST,))
    async with worker_db.transaction(SYSTEM) as conn:
        for plate, free in (("粤B67890", True), ("粤B67891", False)):
            wanted = WantedPass(plate, NOON, NOON + 9 * HOUR, free=free, lot_ids=(site.lot_id,))
            await visitors.give_pass(conn, site.project_id, wanted, now=NOON)
        await tell_passes(conn, site.project_id, NOON)
        told = await _held(conn)
        for gateway_id, lots in (await permits.behind(conn, site.project_id, all_gateways=True)).items():
            await permits.tell_chunk(conn, site.project_id, gateway_id, lots, 0, NOON)
        await reservations.tell_reservations(conn, site.project_id, NOON)
        await tell_passes(conn, site.project_id, NOON)
        assert await _held(conn) == told
    assert {kind for kind, _ in told} == {"permit", "reservation"}
    assert len(told) == 3


async def _held(conn: Conn) -> set[tuple[str, str]]:
    (gateway_id,) = [row["id"] for row in await (await conn.execute("SELECT id FROM gateway")).fetchall()]
    known = await access.known(conn, gateway_id, ["permit", "reservation"])
    return {name for name, holds in known.items() if holds}
