"""Passages to sessions on a real database: any order, repetition and delay, from several workers at once."""

import asyncio
from datetime import timedelta
from random import Random

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.parking import service
from gateway.contract.messages import Passage
from tests.integration.parking.site import NOON, Site, make_site, minutes, openings, rows, stays

PLATES = ("京A12345", "沪BD00001", "粤C777")


def _day(site: Site, seed: int) -> list[Passage]:
    """A day of three vehicles with everything odd: repeats, missing entries and exits, turning back, half reports."""
    chance = Random(seed)
    found: list[Passage] = []
    for plate in PLATES:
        at = NOON
        for _ in range(8):
            at += timedelta(seconds=chance.choice([10, 25, 400, 3000, 9000]))
            device = chance.choice(["entry", "exit"])
            outcome = chance.choice(["passed", "passed", "passed", "turned-back", "refused", "arrived"])
            arrived = site.passage(device, plate, at, "arrived")
            found += [arrived] if outcome == "arrived" else [arrived, site.passage(device, plate, at, outcome, arrived)]
    return found


async def _clear(db: Database) -> None:
    await rows(db, "DELETE FROM passage RETURNING id")
    await rows(db, "DELETE FROM parking_session RETURNING id")


async def test_a_vehicle_enters_and_leaves(ingest_db: Database, site: Site) -> None:
    later = NOON + timedelta(hours=5)
    await site.report(ingest_db, [site.passage("entry", "京A·12345", NOON)], NOON)
    assert [stay[:4] for stay in await stays(ingest_db)] == [("京A12345", "open", NOON, None)]
    await site.report(ingest_db, [site.passage("exit", "京a12345", later)], later)
    (stay,) = await stays(ingest_db)
    assert stay[:4] == ("京A12345", "closed", NOON, later)
    assert (str(stay[4]), stay[5]) == ("8.00", later)


@pytest.mark.parametrize("together", [True, False])
async def test_a_plate_that_is_told_when_the_vehicle_is_through_is_that_of_its_stay(
    ingest_db: Database, site: Site, together: bool
) -> None:
    """The picture came behind the opening: the stay has a fee like any other, in whatever order it is told."""
    later = NOON + timedelta(hours=5)
    unread = site.passage("entry", "", NOON)
    told = [site.passage("entry", PLATES[0], NOON, known=unread), unread]
    for batch in [told] if together else [[one] for one in reversed(told)]:
        await site.report(ingest_db, batch, NOON)
    await site.report(ingest_db, [site.passage("exit", PLATES[0], later)], later)
    (stay,) = await stays(ingest_db)
    assert (*stay[:4], str(stay[4])) == (PLATES[0], "closed", NOON, later, "8.00")


@pytest.mark.parametrize("seeds", [range(5), range(5, 10)])
async def test_any_order_batching_and_repetition_gives_the_same_stays(
    ingest_db: Database, worker_db: Database, site: Site, seeds: range
) -> None:
    for seed in seeds:
        await _clear(worker_db)
        await _in_any_order(ingest_db, worker_db, site, seed)


async def _in_any_order(ingest_db: Database, worker_db: Database, site: Site, seed: int) -> None:
    day, end = _day(site, seed), NOON + timedelta(days=2)
    await site.report(ingest_db, day, end)
    expected = await stays(ingest_db)
    attached = await rows(ingest_db, "SELECT id, incident, session_id IS NULL AS loose FROM passage ORDER BY id")
    assert expected
    for again in range(4):
        await _clear(worker_db)
        chance = Random(f"{seed}-{again}")
        shuffled = day + chance.sample(day, 8)
        chance.shuffle(shuffled)
        while shuffled:
            size = chance.randint(1, 4)
            await site.report(ingest_db, shuffled[:size], end)
            del shuffled[:size]
        assert await stays(ingest_db) == expected
        assert attached == await rows(
            ingest_db, "SELECT id, incident, session_id IS NULL AS loose FROM passage ORDER BY id"
        )


async def test_repeating_everything_changes_nothing(ingest_db: Database, site: Site) -> None:
    day, end = _day(site, 1), NOON + timedelta(days=2)
    await site.report(ingest_db, day, end)
    before = await rows(ingest_db, "SELECT * FROM parking_session ORDER BY id")
    result = await site.report(ingest_db, day, end)
    assert (result.stored, await rows(ingest_db, "SELECT * FROM parking_session ORDER BY id")) == (0, before)


async def test_two_workers_with_the_same_plates(ingest_db: Database, worker_db: Database, site: Site) -> None:
    end = NOON + timedelta(days=2)
    for seed in range(4):
        day = _day(site, seed)
        await _clear(worker_db)
        await site.report(ingest_db, day, end)
        expected = await stays(ingest_db)
        await _clear(worker_db)
        chance = Random(seed)
        batches = [chance.sample(day, 6) for _ in range(10)] + [day[i::3] for i in range(3)]
        await asyncio.gather(*(site.report(ingest_db, batch, end) for batch in batches))
        assert await stays(ingest_db) == expected


async def test_a_session_keeps_its_id_when_late_passages_change_it(ingest_db: Database, site: Site) -> None:
    entered, left = site.passage("entry", "京A1", NOON), site.passage("exit", "京A1", NOON + minutes(300))
    await site.report(ingest_db, [left], NOON + minutes(301))
    (unmatched,) = await rows(ingest_db, "SELECT id, state, fee FROM parking_session")
    assert (unmatched["state"], unmatched["fee"]) == ("unmatched", None)
    await site.report(ingest_db, [entered], NOON + minutes(302))
    (closed,) = await rows(ingest_db, "SELECT id, state FROM parking_session")
    assert closed == {"id": unmatched["id"], "state": "closed"}
    between = [site.passage("exit", "京A1", NOON + minutes(60)), site.passage("entry", "京A1", NOON + minutes(90))]
    await site.report(ingest_db, between, NOON + minutes(303))
    sessions = await rows(ingest_db, "SELECT id, entered_at, left_at FROM parking_session ORDER BY entered_at")
    assert (sessions[0]["id"], sessions[0]["left_at"]) == (closed["id"], NOON + minutes(60))
    assert (sessions[1]["entered_at"], sessions[1]["left_at"]) == (NOON + minutes(90), NOON + minutes(300))


async def test_two_stays_that_were_one_are_merged_with_what_was_paid(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    one, other = site.passage("entry", "京A1", NOON), site.passage("entry", "京A1", NOON + timedelta(seconds=50))
    await site.report(ingest_db, [one, other], NOON + minutes(1))
    first, second = await rows(ingest_db, "SELECT id, state FROM parking_session ORDER BY entered_at")
    assert (first["state"], second["state"]) == ("unmatched", "open")
    await rows(
        worker_db,
        """WITH money AS (INSERT INTO payment (project_id, purpose, method, amount, currency, paid_on)
                          VALUES (%s, 'parking', 'cash', 5, 'CNY', '2026-05-01') RETURNING id, project_id)
           INSERT INTO parking_payment (project_id, payment_id, session_id, amount, paid_until)
           SELECT project_id, id, %s, 5, now() FROM money RETURNING id""",
        (site.project_id, second["id"]),
    )
    await rows(
        worker_db,
        """INSERT INTO vehicle_charging (project_id, session_id, kwh, minutes, entered_by)
           VALUES (%s, %s, 3, 0, 'user:1') RETURNING id""",
        (site.project_id, second["id"]),
    )
    between = site.passage("entry", "京A1", NOON + timedelta(seconds=25))
    await site.report(ingest_db, [between], NOON + minutes(2))
    (session,) = await rows(ingest_db, "SELECT id, state FROM parking_session")
    assert session == {"id": first["id"], "state": "open"}
    for query in ("SELECT session_id FROM parking_payment", "SELECT session_id FROM vehicle_charging"):
        assert await rows(ingest_db, query) == [{"session_id": first["id"]}]


async def test_passages_of_an_unknown_lane_wait_for_it(ingest_db: Database, worker_db: Database) -> None:
    site = await make_site(worker_db, lanes=False)
    arrived = site.passage("entry", "京A1", NOON, "arrived")
    passed = site.passage("entry", "京A1", NOON, "passed", arrived)
    for passage in (arrived, passed, arrived):
        result = await site.report(ingest_db, [passage], NOON)
        assert (result.stored, result.unclaimed) == (0, 1)
    async with worker_db.transaction(SYSTEM) as conn:
        await service.create_lane(conn, site.lot_id, "e", "Entry", "entry", site.entry.device_id)
    assert [stay[:2] for stay in await stays(ingest_db)] == [("京A1", "open")]
    assert await rows(ingest_db, "SELECT id FROM unclaimed_passage") == []


async def test_impossible_times_are_set_aside(ingest_db: Database, site: Site) -> None:
    future = site.passage("exit", "京A1", NOON + minutes(11))
    past = site.passage("entry", "京A1", NOON - timedelta(days=900))
    result = await site.report(ingest_db, [future, past], NOON)
    assert (result.stored, result.unclaimed) == (0, 2)
    assert await rows(ingest_db, "SELECT DISTINCT reason FROM unclaimed_passage") == [{"reason": "clock"}]


async def test_vehicles_without_a_plate_are_never_matched(ingest_db: Database, site: Site) -> None:
    batch = [site.passage("entry", "", NOON), site.passage("entry", "\x00 ", NOON), site.passage("exit", "", NOON)]
    await site.report(ingest_db, batch, NOON)
    await site.report(ingest_db, batch, NOON)
    assert sorted(stay[1] for stay in await stays(ingest_db)) == ["open", "open", "unmatched"]
    assert await openings(ingest_db) == []


async def test_a_plate_that_was_read_only_when_the_vehicle_passed_is_that_of_its_stay(
    ingest_db: Database, site: Site
) -> None:
    waiting = site.passage("entry", "", NOON, "arrived")
    await site.report(ingest_db, [waiting], NOON)
    passed = site.passage("entry", "京A12345", NOON, "passed", waiting)
    await site.report(ingest_db, [passed, passed], NOON)
    assert [(plate, state) for plate, state, *_ in await stays(ingest_db)] == [("京A12345", "open")]
    await site.report(ingest_db, [site.passage("entry", "", NOON, "passed", waiting)], NOON)
    assert [(plate, state) for plate, state, *_ in await stays(ingest_db)] == [("京A12345", "open")]
