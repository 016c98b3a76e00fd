"""Workers of ingest and those who change what lanes know lock in one order: none of them waits in a circle."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest

from cloud.devices import access
from cloud.devices import service as devices
from cloud.ingest.messages import Incoming, Refused, read
from cloud.ingest.writer import Answers, Writer
from cloud.kit.db import SYSTEM, Database
from cloud.metering import service as metering
from cloud.parking.stays.repository import lock_plates
from gateway.contract import codec, topics
from gateway.contract.access import ListEntry, Listing
from gateway.contract.messages import DeviceHealth, Gap, GapReason, Health, Outcome, Passage, Point
from gateway.contract.topics import Up
from tests.integration.metering import site as meters
from tests.integration.metering.site import CHANNEL, EPOCH, now_ms
from tests.integration.parking import site as parking

PLATE = "京A11111"


def told(project: str, gateway: str, kind: Up, seq: int, item: Any) -> Incoming | Refused:
    body = codec.encode_envelope(EPOCH, seq, now_ms(), codec.encode_body([item]))
    return read(topics.up(project, gateway, kind), body, now_ms())


def health(project: str, gateway: str, seq: int) -> Incoming | Refused:
    return told(project, gateway, Up.HEALTH, seq, Health(now_ms(), "1", 1, 0, 0, 0, 0))


def accepted(answers: Answers) -> list[int]:
    return sorted(seq for seqs in answers.accepted.values() for seq in seqs)


async def waits_for_a_lock(db: Database) -> None:
    query = """SELECT 1 FROM pg_locks JOIN pg_database d ON d.oid = database
               WHERE NOT granted AND datname = current_database()"""
    async with asyncio.timeout(60):
        while True:
            async with db.transaction(SYSTEM) as conn:
                if (await (await conn.execute(query)).fetchone()) is not None:
                    return
            await asyncio.sleep(0.02)


async def test_a_list_is_changed_while_its_gateway_tells_of_itself_and_of_the_vehicle(
    ingest_db: Database, worker_db: Database
) -> None:
    """Whoever puts a plate on a list locks the plate, then what gateways were told."""
    site = await parking.make_site(worker_db)
    entry = ListEntry("k", PLATE, Listing.BLACK)
    async with worker_db.transaction(SYSTEM) as conn:
        (gateway_id,) = (await devices.resolve_gateways(conn, [(site.project_id, parking.GATEWAY)])).values()
        await access.tell(conn, site.project_id, [gateway_id], [ListEntry("other", "京B22222", Listing.BLACK)])
    passage = Passage("00000000-0000-4000-8000-000000000001", "entry", PLATE, now_ms(), Outcome.PASSED, "entry")
    group = [health("p", parking.GATEWAY, 1), told("p", parking.GATEWAY, Up.PASSAGES, 2, passage)]
    async with worker_db.transaction(SYSTEM) as conn:
        await lock_plates(conn, site.project_id, [PLATE])
        storing = asyncio.create_task(Writer(ingest_db).store(group))
        await waits_for_a_lock(ingest_db)
        assert await access.tell(conn, site.project_id, [gateway_id], [entry]) == 1
    assert accepted(await storing) == [1, 2]


async def test_two_workers_hear_of_two_gateways_crosswise(
    ingest_db: Database, worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = await meters.make_site(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await devices.create_gateway(conn, site.project_id, "gw-2", "Gateway 2")
    apply, reached, both = devices.apply_signs_of_life, 0, asyncio.Event()

    async def in_no_hurry(*arguments: Any) -> None:
        nonlocal reached
        await apply(*arguments)
        reached += 1
        if reached == 2:
            both.set()
        with suppress(TimeoutError):
            async with asyncio.timeout(0.5):  # the other one may have to wait for this one to end
                await both.wait()

    monkeypatch.setattr(devices, "apply_signs_of_life", in_no_hurry)
    gap = Gap("m1", "", now_ms() - 1_000, now_ms(), 1, GapReason.OUTBOX_FULL)
    groups = [
        [health("demo", one, 1), told("demo", other, Up.GAPS, 2, gap)]
        for one, other in (("gw-1", "gw-2"), ("gw-2", "gw-1"))
    ]
    stored = await asyncio.gather(*(Writer(ingest_db).store(group) for group in groups))
    assert [accepted(answers) for answers in stored] == [[1, 2], [1, 2]]


async def test_two_workers_hear_of_two_meters_crosswise_by_readings_and_by_reports(
    ingest_db: Database, worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One worker would hold the first meter and wait for the second, the other one the other way round."""
    site = await meters.make_site(worker_db, meters=2)
    store, reached, both = metering.store_points, 0, asyncio.Event()

    async def in_no_hurry(*arguments: Any, **named: Any) -> Any:
        nonlocal reached
        stored = await store(*arguments, **named)
        reached += 1
        if reached == 2:
            both.set()
        async with asyncio.timeout(60):
            await both.wait()
        return stored

    monkeypatch.setattr(metering, "store_points", in_no_hurry)
    at = now_ms()
    groups = [
        [
            told("demo", "gw-1", Up.READINGS, 1, Point(read_of, CHANNEL, at, 5)),
            told("demo", "gw-1", Up.HEALTH, 2, Health(at, "1", 1, 0, 0, 0, 0, (heard_of(reported, at),))),
        ]
        for read_of, reported in (("m1", "m2"), ("m2", "m1"))
    ]
    stored = await asyncio.gather(*(Writer(ingest_db).store(group) for group in groups))
    assert [accepted(answers) for answers in stored] == [[1, 2], [1, 2]]
    async with worker_db.transaction(SYSTEM) as conn:
        found = await (await conn.execute("SELECT device_id FROM device_state ORDER BY device_id")).fetchall()
    assert [row["device_id"] for row in found] == site.devices


def heard_of(device: str, at: int) -> DeviceHealth:
    return DeviceHealth(device, at, 1, 0, 0, 0, 0)


async def told_gateway(db: Database) -> tuple[parking.Site, int]:
    """A site whose gateway was told something already."""
    site = await parking.make_site(db)
    async with db.transaction(SYSTEM) as conn:
        (gateway_id,) = (await devices.resolve_gateways(conn, [(site.project_id, parking.GATEWAY)])).values()
        await access.tell(conn, site.project_id, [gateway_id], [ListEntry("other", "京B22222", Listing.BLACK)])
    return site, gateway_id


async def held(db: Database, gateway_id: int) -> int:
    async with db.transaction(SYSTEM) as conn:
        found = await conn.execute("SELECT held FROM gateway_access WHERE gateway_id = %s", (gateway_id,))
        row = await found.fetchone()
    assert row is not None
    return int(row["held"])


def arrival(seq: int) -> Incoming | Refused:
    passage = Passage(f"00000000-0000-4000-8000-{seq:012}", "entry", PLATE, now_ms(), Outcome.PASSED, "entry")
    return told("p", parking.GATEWAY, Up.PASSAGES, seq, passage)


async def test_vehicles_do_not_wait_while_their_gateway_is_told_everything(
    ingest_db: Database, worker_db: Database
) -> None:
    """Whoever compares all permits, lists or debts of a site keeps what its gateways were told for as long."""
    site, gateway_id = await told_gateway(worker_db)
    report = told("p", parking.GATEWAY, Up.HEALTH, 1, Health(now_ms(), "1", 1, 0, 0, 0, 0, access=1))
    async with worker_db.transaction(SYSTEM) as conn:
        await access.lock(conn, site.project_id, [gateway_id])
        async with asyncio.timeout(60):
            assert accepted(await Writer(ingest_db).store([report, arrival(2)])) == [1, 2]
    assert await held(worker_db, gateway_id) == 0, "left to the next report"
    await Writer(ingest_db).store([report])
    assert await held(worker_db, gateway_id) == 1


async def test_somebody_who_changes_a_second_thing_after_he_told_gateways_of_the_first(
    ingest_db: Database, worker_db: Database
) -> None:
    """He holds the gateway and wants a plate, ingest holds the plate: neither of them is broken off."""
    site, gateway_id = await told_gateway(worker_db)
    group = [arrival(1), health("p", parking.GATEWAY, 2)]
    async with worker_db.transaction(SYSTEM) as conn:
        await lock_plates(conn, site.project_id, [PLATE])
        storing = asyncio.create_task(Writer(ingest_db).store(group))
        await waits_for_a_lock(ingest_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await access.tell(conn, site.project_id, [gateway_id], [ListEntry("k", PLATE, Listing.BLACK)])
        await lock_plates(conn, site.project_id, [PLATE])
    assert accepted(await storing) == [1, 2]
