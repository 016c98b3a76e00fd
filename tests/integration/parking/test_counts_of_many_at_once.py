"""Live counts while reports come twice and in disorder, plates are corrected and places reserved, all at once."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.parking.counts.counting import counts
from cloud.parking.places import service as places
from cloud.parking.reservations import service as reservations
from cloud.parking.reservations.records import ReservationRule, Wanted
from cloud.parking.stays import corrections
from gateway.contract.messages import Passage
from tests.integration.parking.nested import matched_at_once, stored
from tests.integration.parking.site import Site, minutes, rows

CAPACITY = 5
PLATES = ["京A00001", "京A00002", "粤B00003", "沪C00004"]


def _day(site: Site, chance: Random, now: datetime) -> list[Passage]:
    """Vehicles that come and go, some seen once only; a third is told twice, nothing in its order."""
    seen = [
        site.passage(chance.choice(["entry", "exit"]), chance.choice(PLATES), now - minutes(chance.randrange(1, 600)))
        for _ in range(30)
    ]
    told = seen + chance.sample(seen, 10)
    chance.shuffle(told)
    return told


async def _correct(db: Database, number: int) -> None:
    chance = Random(number)
    known = await rows(db, "SELECT id FROM passage ORDER BY id")
    said = await rows(db, "SELECT id FROM plate_correction WHERE undone_at IS NULL ORDER BY id")
    async with db.transaction(SYSTEM) as conn:
        if said and chance.random() < 0.4:
            await corrections.undo_correction(conn, chance.choice(said)["id"], "mistaken", "guard")
        elif known:
            await corrections.correct_plate(conn, chance.choice(known)["id"], chance.choice(PLATES), "seen", "guard")


async def _reserve(db: Database, site: Site, number: int, now: datetime) -> None:
    chance = Random(number)
    booked = await rows(db, "SELECT id FROM parking_reservation WHERE state = 'booked' ORDER BY id")
    async with db.transaction(SYSTEM) as conn:
        if booked and chance.random() < 0.4:
            await reservations.cancel(conn, chance.choice(booked)["id"], "guard")
        else:
            wanted = Wanted(site.lot_id, chance.choice(PLATES), "small", now, now + timedelta(hours=2))
            await reservations.book(conn, wanted, "guard", now=now)


async def _check(db: Database, site: Site) -> None:
    """The stays are those of all passages at once, and every number follows from stays and reservations."""
    assert await stored(db) == await matched_at_once(db, site.project_id)
    inside = [row["plate"] for row in await rows(db, "SELECT plate FROM parking_session WHERE state = 'open'")]
    assert len(inside) == len(set(inside))
    awaited = await rows(db, "SELECT plate FROM parking_reservation WHERE state = 'booked'")
    held = sum(row["plate"] not in inside for row in awaited)
    async with db.transaction(SYSTEM) as conn:
        (found,) = await counts(conn, [site.project_id], datetime.now(UTC))
    assert (found.inside, found.standing) == (len(inside), len(inside))
    assert sum(one.held for one in found.classes) == held
    assert found.free == max(0, CAPACITY - len(inside) - held)


@pytest.mark.parametrize("seed", range(3))
async def test_whatever_happens_at_once_every_number_is_that_of_the_stays(
    ingest_db: Database, worker_db: Database, site: Site, seed: int
) -> None:
    chance, now = Random(seed), datetime.now(UTC).replace(microsecond=0)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE parking_lot SET capacity = %s WHERE id = %s", (CAPACITY, site.lot_id))
        assert (await places.get_lot(conn, site.lot_id)).capacity == CAPACITY
        await reservations.set_rule(conn, ReservationRule(site.lot_id, "", 3))
    told, done = _day(site, chance, now), list[Passage]()
    while told:
        batches = [told[:4], told[4:7], chance.sample(done, min(3, len(done)))]
        done, told = done + told[:7], told[7:]
        number = chance.randrange(1_000_000)
        answers = await asyncio.gather(
            *(site.report(ingest_db, batch, now) for batch in batches if batch),
            _correct(worker_db, number), _reserve(worker_db, site, number, now),
            _reserve(worker_db, site, number + 1, now), return_exceptions=True,
        )  # fmt: skip
        for answer in answers:
            if isinstance(answer, BaseException) and not isinstance(answer, Conflict | InvalidInput):
                raise answer
        await _check(worker_db, site)
    assert await rows(worker_db, "SELECT id FROM plate_correction")
    assert await rows(worker_db, "SELECT id FROM parking_reservation WHERE state <> 'booked'")
