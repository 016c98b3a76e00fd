"""Commands on their way out of the cloud hold up nobody who takes in what gateways tell."""

import asyncio
from datetime import timedelta

import pytest

from cloud.devices import service
from cloud.devices.downlink import Downlink
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys
from gateway.contract import codec
from gateway.contract.messages import Action, CommandResult, CommandState
from tests.integration.metering.site import Site, make_site, now_ms


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def order(db: Database, site: Site, device: int) -> str:
    async with db.transaction(SYSTEM) as conn:
        return str(
            await service.queue_command(
                conn, site.project_id, device, Action.READ_NOW, {}, "staff", "a test", timedelta(seconds=60)
            )
        )


async def state(db: Database, command_id: str) -> str:
    async with db.transaction(SYSTEM) as conn:
        query = "SELECT state FROM command WHERE id = %s"
        row = await (await conn.execute(query, (command_id,))).fetchone()
    assert row is not None
    return str(row["state"])


async def test_what_a_gateway_reports_is_stored_before_the_last_command_is_out(
    ingest_db: Database, worker_db: Database, site: Site, keys: Keys
) -> None:
    ordered = [await order(worker_db, site, device) for device in site.devices[:2]]
    reported: list[str] = []

    async def publish(topic: str, payload: bytes) -> bool:
        del topic
        command = codec.decode_command(payload)
        result = CommandResult(command.id, CommandState.DONE, now_ms())
        async with asyncio.timeout(30), ingest_db.transaction(SYSTEM) as conn:
            await service.apply_result(conn, site.project_id, site.gateway_id, [result])
        reported.append(command.id)
        return True

    assert await Downlink(ingest_db, keys, publish).publish_due() == 2
    assert sorted(reported) == sorted(ordered)
    assert [await state(ingest_db, one) for one in ordered] == ["done", "done"]


async def test_what_the_broker_did_not_take_goes_out_as_soon_as_it_does(
    ingest_db: Database, worker_db: Database, site: Site, keys: Keys
) -> None:
    first, second = [await order(worker_db, site, device) for device in site.devices[:2]]
    offered: list[str] = []

    async def publish(topic: str, payload: bytes) -> bool:
        del topic
        offered.append(codec.decode_command(payload).id)
        return offered != [first, second]

    downlink = Downlink(ingest_db, keys, publish)
    assert [await downlink.publish_due() for _ in range(3)] == [1, 1, 0]
    assert offered == [first, second, second], "none again before its gateway had time to answer"
