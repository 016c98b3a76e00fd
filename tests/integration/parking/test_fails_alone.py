"""One bad thing fails alone: whatever is wrong with a vehicle, a rule or a project, no other vehicle is held by it."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString
from uuid import UUID

import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.parking import jobs, service
from cloud.parking.charging import service as charging
from cloud.parking.fees import pricing
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.permits import jobs as permit_jobs
from cloud.parking.permits import telling as permits
from cloud.parking.stays import policies
from cloud.parking.stays import repository as stays_repository
from cloud.parking.stays.policy import LotPolicy
from gateway.contract.messages import Action
from tests.integration.parking.site import NOON, Site, minutes, openings, rows

BAD, GOOD = "京A11111", "京B22222"


@pytest.fixture
def bad_vehicle(monkeypatch: pytest.MonkeyPatch) -> None:
    """One vehicle breaks whatever lets it out."""
    real = charging._let_out

    async def breaks(conn: Conn, leaving: Sequence[charging._Leaving], actor: str) -> list[UUID]:
        if BAD in {one.session.plate for one in leaving}:
            await conn.execute("SELECT 1 / 0")
        return await real(conn, leaving, actor)

    monkeypatch.setattr(charging, "_let_out", breaks)


async def _arrive(db: Database, site: Site, now: datetime) -> None:
    """Two vehicles that owe nothing stand at the exit, the first one in front of the other."""
    plates = (BAD, GOOD)
    await site.report(db, [site.passage("entry", plate, now - minutes(60)) for plate in plates], now)
    for second, plate in enumerate(plates):
        await site.report(db, [site.passage("exit", plate, now + timedelta(seconds=second), "arrived")], now)


@pytest.mark.usefixtures("bad_vehicle")
async def test_a_vehicle_that_breaks_what_lets_it_out_holds_no_other(ingest_db: Database, site: Site) -> None:
    await _arrive(ingest_db, site, NOON)
    assert len(await openings(ingest_db)) == 1


@pytest.mark.usefixtures("bad_vehicle")
async def test_nor_in_the_job_of_each_minute(ingest_db: Database, worker_db: Database, site: Site) -> None:
    now = datetime.now(UTC) - minutes(1)
    await _arrive(ingest_db, site, now)
    await rows(ingest_db, "UPDATE command SET state = 'expired' RETURNING id")
    assert await jobs.let_out(JobContext(1, None, {}, worker_db)) == {"opened": 1}


async def test_a_stay_that_cannot_be_priced_holds_neither_its_vehicle_nor_others(
    ingest_db: Database, worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It leaves when a person opens: its exit is stored, its stay is over without a fee, and no lane goes untold."""
    real = pricing.assess

    def breaks(rule: Any, entered_at: datetime, *others: Any) -> Any:
        if entered_at == NOON:
            raise OverflowError("date value out of range")
        return real(rule, entered_at, *others)

    monkeypatch.setattr("cloud.parking.fees.versions.assess", breaks)
    later = NOON + minutes(5)
    await site.report(ingest_db, [site.passage("entry", BAD, NOON), site.passage("entry", GOOD, later)], later)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session WHERE plate = %s", [BAD])
    async with worker_db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict, match="no fee rule"):
            await service.quote(conn, session["id"], later)
    await site.report(
        ingest_db, [site.passage("exit", BAD, NOON + minutes(30)), site.passage("exit", GOOD, NOON + minutes(31))],
        NOON + minutes(31),
    )  # fmt: skip
    assert await _ended(ingest_db) == {BAD: ("closed", None), GOOD: ("closed", Decimal("0.00"))}


async def test_a_rule_that_cannot_be_read_any_more_leaves_its_stays_to_people(
    ingest_db: Database, owner_db: Database, worker_db: Database, site: Site
) -> None:
    await site.report(ingest_db, [site.passage("entry", BAD, NOON)], NOON)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("SET LOCAL session_replication_role = replica")
        await conn.execute("UPDATE parking_rule_version SET content = '{}'")
    await site.report(ingest_db, [site.passage("exit", BAD, NOON + minutes(30))], NOON + minutes(30))
    assert await _ended(ingest_db) == {BAD: ("closed", None)}
    result = await jobs.tell_gateways(JobContext(1, None, {}, worker_db))
    assert "failed" not in result
    assert result["told"]


async def test_a_policy_that_cannot_be_read_any_more_holds_nobody(
    ingest_db: Database, owner_db: Database, site: Site
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        await policies.set_policy(conn, site.lot_id, LotPolicy(), "user:1")
        await conn.execute("UPDATE parking_lot_policy SET content = '{\"of_another_version\": 1}'")
    await site.report(ingest_db, [site.passage("entry", BAD, NOON)], NOON)
    await site.report(ingest_db, [site.passage("exit", BAD, NOON + minutes(30))], NOON + minutes(30))
    assert await _ended(ingest_db) == {BAD: ("closed", Decimal("0.00"))}


async def test_what_cannot_be_told_keeps_lanes_from_nothing_else(
    worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lots and stays cannot be told; that a plate is on the black list no more is told all the same."""
    now = datetime.now(UTC)
    async with worker_db.transaction(SYSTEM) as conn:
        new = NewEntry(site.project_id, "black", BAD, "no payment", None, now - minutes(9), now - minutes(1))
        await lists.add(conn, new, "user:1", now - minutes(9))

    async def breaks(*_: Any) -> None:
        raise ArithmeticError("bad stay")

    monkeypatch.setattr("cloud.parking.edge.telling._entries", breaks)
    assert await jobs.tell_gateways(JobContext(1, None, {}, worker_db)) == {"told": 1, "failed": 1}


async def test_who_pays_at_a_barrier_that_cannot_open_has_paid(
    ingest_db: Database, worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As its gateway says that the relay is gone: a person opens, and the money is not refused."""
    monkeypatch.setattr(devices, "actions_told", lambda _: {"exit": frozenset({Action.CLOSE_BARRIER})})
    at = NOON + timedelta(hours=5)
    await site.report(ingest_db, [site.passage("entry", GOOD, NOON)], NOON)
    await site.report(ingest_db, [site.passage("exit", GOOD, at, "arrived")], at)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")
    async with worker_db.transaction(SYSTEM) as conn:
        paid = await service.pay(conn, session["id"], Decimal("8.00"), "cash", "user:guard", at=at)
    assert paid.command_id is None
    assert await openings(ingest_db) == []
    assert [row["amount"] for row in await rows(ingest_db, "SELECT amount FROM parking_payment")] == [Decimal("8.00")]


async def test_permits_of_a_gateway_that_cannot_be_told_keep_no_other_gateway(
    worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = permits.tell_chunk
    async with worker_db.transaction(SYSTEM) as conn:
        second = await devices.create_gateway(conn, site.project_id, "gw2", "Second")
        device = await devices.create_device(conn, site.project_id, second.id, "in", "barrier")
        await service.create_lane(conn, site.lot_id, "in", "in", "entry", device.id)

    async def breaks(conn: Conn, project_id: int, gateway_id: int, *others: Any) -> int | None:
        if gateway_id != second.id:
            raise ArithmeticError("bad permit")
        return await real(conn, project_id, gateway_id, *others)

    monkeypatch.setattr(permits, "tell_chunk", breaks)
    assert await permit_jobs.tell_permits(JobContext(1, None, {}, worker_db)) == {"gateways": 1}


async def test_a_stay_whose_plate_changes_while_it_is_paid_is_looked_at_again(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """Who waits for the old plate's lock would work on the new one beside whoever has locked that."""
    await site.report(ingest_db, [site.passage("entry", BAD, NOON)], NOON)
    (session,) = await rows(ingest_db, "SELECT id FROM parking_session")

    async def pay() -> None:
        async with worker_db.transaction(SYSTEM) as conn:
            at = NOON + timedelta(hours=5)
            await service.pay(conn, session["id"], Decimal("8.00"), "cash", "user:guard", at=at)

    async with ingest_db.transaction(SYSTEM) as conn:
        await stays_repository.lock_plates(conn, site.project_id, [BAD])
        paying = asyncio.create_task(pay())
        waits: LiteralString = """
            SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
            WHERE l.locktype = 'advisory' AND NOT l.granted AND d.datname = current_database()
        """
        while not await (await conn.execute(waits)).fetchall():
            await asyncio.sleep(0.01)
        await conn.execute("UPDATE parking_session SET plate = %s", (GOOD,))
    with pytest.raises(Conflict, match="just been changed"):
        await paying


async def _ended(db: Database) -> dict[str, Sequence[Any]]:
    found = await rows(db, "SELECT plate, state, fee FROM parking_session")
    return {row["plate"]: (row["state"], row["fee"]) for row in found}
