"""What is on its way out of the cloud holds up nobody who takes in what gateways tell, and no command."""

import asyncio
from datetime import timedelta

import pytest

from cloud.devices import access, configuring, service
from cloud.devices.downlink import Downlink
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys
from gateway.contract import codec
from gateway.contract.access import ListEntry, Listing
from gateway.contract.configuration import ConfigurationReport, ConfigurationState
from gateway.contract.messages import Action, CommandResult, CommandState, Health
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
        async with asyncio.timeout(60), ingest_db.transaction(SYSTEM) as conn:
            await service.apply_results(conn, {(site.project_id, site.gateway_id): [result]})
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


async def test_an_order_whose_time_is_over_is_not_sent_any_more(
    ingest_db: Database, worker_db: Database, site: Site, keys: Keys
) -> None:
    """A gateway would refuse it; one whose clock is behind would open for nobody."""
    late, good = [await order(worker_db, site, device) for device in site.devices[:2]]
    ended = """UPDATE command SET issued_at = now() - interval '1 minute', expires_at = now() - %s::interval
               WHERE id = %s"""
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(ended, ("1 second", late))
    offered: list[str] = []

    async def publish(topic: str, payload: bytes) -> bool:
        del topic
        offered.append(codec.decode_command(payload).id)
        return True

    assert await Downlink(ingest_db, keys, publish).publish_due() == 1
    assert offered == [good]
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(ended, ("6 seconds", late))
    await Downlink(ingest_db, keys, publish).publish_due()
    assert (await state(ingest_db, late), offered) == ("expired", [good])


async def test_an_order_goes_forward_only_and_by_the_word_of_its_own_gateway(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    ordered = await order(worker_db, site, site.devices[0])
    async with worker_db.transaction(SYSTEM) as conn:
        other = (await service.create_gateway(conn, site.project_id, "gw-2", "Gateway 2")).id

    async def told(gateway: int, *states: CommandState) -> str:
        results = [CommandResult(ordered, one, now_ms()) for one in states]
        async with ingest_db.transaction(SYSTEM) as conn:
            await service.apply_results(conn, {(site.project_id, gateway): results})
        return await state(ingest_db, ordered)

    assert await told(other, CommandState.DONE) == "queued"
    assert await told(site.gateway_id, CommandState.EXECUTING, CommandState.DELIVERED) == "executing"
    assert await told(site.gateway_id, CommandState.UNCERTAIN) == "uncertain"
    assert await told(site.gateway_id, CommandState.EXECUTING) == "uncertain"
    assert await told(site.gateway_id, CommandState.DONE, CommandState.FAILED) == "done"
    assert await told(site.gateway_id, CommandState.EXPIRED) == "done"


async def test_what_two_gateways_say_of_one_order_in_one_transaction_is_the_word_of_its_own(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    ordered = await order(worker_db, site, site.devices[0])
    async with worker_db.transaction(SYSTEM) as conn:
        other = (await service.create_gateway(conn, site.project_id, "gw-2", "Gateway 2")).id
    done = CommandResult(ordered, CommandState.DONE, now_ms())
    begun = CommandResult(ordered, CommandState.EXECUTING, now_ms())
    async with ingest_db.transaction(SYSTEM) as conn:
        told = {(site.project_id, other): [done], (site.project_id, site.gateway_id): [begun]}
        assert await service.apply_results(conn, told) == 1
    assert await state(ingest_db, ordered) == "executing"


async def tell(db: Database, site: Site, *plates: str) -> None:
    async with db.transaction(SYSTEM) as conn:
        entries = [ListEntry(plate, plate, Listing.BLACK) for plate in plates]
        await access.tell(conn, site.project_id, [site.gateway_id], entries)


async def test_who_changes_what_lanes_know_and_what_gateways_tell_do_not_wait_for_a_step_to_be_out(
    ingest_db: Database, worker_db: Database, site: Site, keys: Keys
) -> None:
    await tell(worker_db, site, "京A11111")
    sent: list[tuple[int, int, int]] = []

    async def publish(topic: str, payload: bytes) -> bool:
        del topic
        step = codec.decode_access(payload)
        sent.append((step.base, step.number, len(step.entries)))
        if len(sent) == 1:
            async with asyncio.timeout(60):
                await tell(worker_db, site, "京B22222")
                async with ingest_db.transaction(SYSTEM) as conn:
                    await service.apply_health(conn, site.gateway_id, Health(now_ms(), "1", 1, 0, 0, 0, 0))
        return True

    downlink = Downlink(ingest_db, keys, publish)
    assert [await downlink.publish_due() for _ in range(3)] == [1, 1, 0]
    assert sent == [(0, 1, 1), (1, 2, 1)]


async def test_two_downlinks_tell_a_gateway_one_step_after_the_other(
    ingest_db: Database, worker_db: Database, site: Site, keys: Keys
) -> None:
    await tell(worker_db, site, "京A11111")
    sent: list[tuple[int, int]] = []

    async def publish(topic: str, payload: bytes) -> bool:
        del topic
        step = codec.decode_access(payload)
        sent.append((step.base, step.number))
        await tell(worker_db, site, "京B22222")
        async with asyncio.timeout(60):
            assert len(sent) > 1 or await Downlink(ingest_db, keys, publish).publish_due() == 0
        return True

    assert [await Downlink(ingest_db, keys, publish).publish_due() for _ in range(2)] == [1, 1]
    assert sent == [(0, 1), (1, 2)]


async def test_a_step_that_went_out_while_its_gateway_told_that_it_holds_more_is_not_taken_for_known(
    ingest_db: Database, worker_db: Database, site: Site, keys: Keys
) -> None:
    """After a restored backup: the gateway passes over the step, and has to be told everything above its number."""
    await tell(worker_db, site, "京A11111")
    sent: list[tuple[int, int]] = []

    async def publish(topic: str, payload: bytes) -> bool:
        del topic
        step = codec.decode_access(payload)
        sent.append((step.base, step.number))
        if len(sent) == 1:
            async with asyncio.timeout(60), ingest_db.transaction(SYSTEM) as conn:
                await service.apply_health(conn, site.gateway_id, Health(now_ms(), "1", 1, 0, 0, 0, 0, access=40))
        return True

    downlink = Downlink(ingest_db, keys, publish)
    for _ in range(2):
        await downlink.publish_due()
    assert sent == [(0, 1), (0, 41)]


async def test_what_a_gateway_reports_of_a_configuration_is_stored_before_the_next_one_is_out(
    ingest_db: Database, worker_db: Database, site: Site, keys: Keys
) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        await configuring.configure(conn, site.gateway_id, "periods: {instant_s: 30}\n", {}, "staff", "a test")

    async def publish(topic: str, payload: bytes) -> bool:
        del topic
        number = codec.decode_configuration(payload).number
        report = ConfigurationReport(number, ConfigurationState.RECEIVED, now_ms())
        async with asyncio.timeout(60), ingest_db.transaction(SYSTEM) as conn:
            assert await configuring.apply_configurations(conn, site.gateway_id, [report]) == 1
        return True

    downlink = Downlink(ingest_db, keys, publish)
    assert [await downlink.publish_due() for _ in range(2)] == [1, 0]


async def test_a_command_does_not_wait_until_somebody_was_told_everything(
    ingest_db: Database, worker_db: Database, site: Site, keys: Keys
) -> None:
    await tell(worker_db, site, "京A11111")
    telling, commanded = asyncio.Event(), asyncio.Event()

    async def publish(topic: str, payload: bytes) -> bool:
        del payload
        if topic.endswith("/access"):
            telling.set()
            await asyncio.Event().wait()
        commanded.set()
        return True

    running = asyncio.create_task(Downlink(ingest_db, keys, publish).run())
    try:
        async with asyncio.timeout(60):
            await telling.wait()
            await order(worker_db, site, site.devices[0])
            await commanded.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
