"""Reservations: one wins the last place, the vehicle is bound by event time, gateways know whom they wait for."""

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random

import httpx
import psycopg
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.paging import PageRequest
from cloud.parking import service as parking
from cloud.parking.reservations import service
from cloud.parking.reservations.records import Reservation, ReservationFilter, ReservationRule, Wanted
from cloud.parking.stays.repository import lock_plates
from gateway.contract.access import GoneEntry, LotEntry, ReservationEntry
from tests.integration.app import Auth, People, once
from tests.integration.parking.site import GATEWAY, Site, minutes, rows, until_waiting
from tests.integration.parking.told import heard, tell

PLATE = "京A12345"
HOUR = timedelta(hours=1)


def soon() -> datetime:
    """An hour from now, to the minute."""
    return datetime.now(UTC).replace(second=0, microsecond=0) + HOUR


async def rule(db: Database, site: Site, places: int, **changes: int) -> ReservationRule:
    """A rule for all classes of the lot."""
    async with db.transaction(SYSTEM) as conn:
        return await service.set_rule(conn, ReservationRule(site.lot_id, "", places, **changes))


async def book(
    db: Database, site: Site, plate: str, since: datetime, until: datetime, now: datetime | None = None
) -> Reservation:
    """Reserves as staff do."""
    async with db.transaction(site.staff) as conn:
        return await service.book(conn, Wanted(site.lot_id, plate, "small", since, until), "user:staff", now=now)


async def the_one(db: Database, site: Site, reservation_id: int) -> Reservation:
    async with db.transaction(site.staff) as conn:
        return await service.get_reservation(conn, reservation_id)


async def test_of_two_who_want_the_last_place_one_gets_it(web_db: Database, worker_db: Database, site: Site) -> None:
    """Many rounds on two connections; the number of places is kept in every one of them."""
    await rule(worker_db, site, 1)
    start = soon()
    for nth in range(25):
        since = start + nth * 2 * HOUR
        answers = await asyncio.gather(
            *(book(web_db, site, f"京A{nth:03}{who}", since, since + HOUR) for who in "XY"), return_exceptions=True
        )
        made = [one for one in answers if isinstance(one, Reservation)]
        refused = [one for one in answers if isinstance(one, Conflict)]
        assert (len(made), [one.code for one in refused]) == (1, ["fully-reserved"])
    async with web_db.transaction(site.staff) as conn:
        found = await service.list_reservations(conn, PageRequest(100), ReservationFilter(lot_id=site.lot_id))
    assert len(found.items) == 25


async def test_of_twenty_who_want_the_last_place_at_once_one_gets_it(
    app_client: httpx.AsyncClient, people: People, worker_db: Database, site: Site
) -> None:
    """Through the interface, each with a key of its own, one of them sent twice."""
    await rule(worker_db, site, 1)
    auth = await people.staff("manager", site.project_id)
    since = soon()

    async def ask(nth: int, sent: dict[str, str]) -> httpx.Response:
        body = {"lot_id": site.lot_id, "plate": f"京A{nth:05}", "vehicle_class": "small",
                "since": since.isoformat(), "until": (since + HOUR).isoformat()}  # fmt: skip
        return await app_client.post("/api/v1/parking-reservations", json=body, headers={**auth, **sent})

    sent = [once() for _ in range(20)]
    answers = await asyncio.gather(*(ask(nth, one) for nth, one in enumerate(sent)), ask(7, sent[7]))
    made = {one.json()["plate"] for one in answers if one.status_code == 201}
    assert len(made) == 1, [one.text for one in answers]
    assert {one.json()["code"] for one in answers if one.status_code != 201} <= {"fully-reserved", "request-running"}
    async with worker_db.transaction(site.staff) as conn:
        found = await service.list_reservations(conn, PageRequest(100), ReservationFilter(lot_id=site.lot_id))
    assert {one.plate for one in found.items} == made


async def test_the_database_itself_refuses_a_second_vehicle_on_a_place(
    owner_dsn: str, worker_db: Database, site: Site
) -> None:
    """Whoever forgets the lock and writes by hand, at the same moment, is refused all the same."""
    write = """INSERT INTO parking_reservation (project_id, lot_id, plate, vehicle_class, pool, slot, reserved, taken,
                   arrival, free_until, booked_by)
               SELECT %s, %s, %s, 'small', '', 1, t.span, t.span, t.span, now(), 'hand'
               FROM (SELECT tstzrange(now() + make_interval(days => %s), now() + make_interval(days => %s)) AS span)
                    AS t"""

    async def insert(conn: psycopg.AsyncConnection[tuple[object, ...]], plate: str, day: int) -> bool:
        try:
            async with conn.transaction():
                await conn.execute(write, (site.project_id, site.lot_id, plate, day * 2, day * 2 + 1))
        except (psycopg.errors.ExclusionViolation, psycopg.errors.DeadlockDetected):
            return False
        return True

    async with (
        await psycopg.AsyncConnection.connect(owner_dsn, autocommit=True) as one,
        await psycopg.AsyncConnection.connect(owner_dsn, autocommit=True) as other,
    ):
        for conn in (one, other):
            await conn.execute("SET deadlock_timeout = '20ms'")
        for day in range(40):
            taken = await asyncio.gather(insert(one, f"A{day}", day), insert(other, f"B{day}", day))
            assert sum(taken) == 1, "never both, and never neither"


async def test_random_requests_of_many_never_take_more_places_than_there_are(
    web_db: Database, worker_db: Database, site: Site
) -> None:
    await rule(worker_db, site, 2, hold_minutes=0, early_minutes=0, late_minutes=0)
    random, start = Random(3), soon()

    async def try_one(nth: int) -> None:
        since = start + random.randrange(6) * HOUR
        try:
            made = await book(web_db, site, f"沪B{nth:05}", since, since + random.randrange(1, 4) * HOUR)
            if random.random() < 0.3:
                async with web_db.transaction(site.staff) as conn:
                    await service.cancel(conn, made.id, "user:staff")
        except Conflict as refused:
            assert refused.code == "fully-reserved"  # noqa: PT017

    await asyncio.gather(*(try_one(nth) for nth in range(40)))
    crowded = await rows(
        worker_db,
        """SELECT count(*) AS n FROM parking_reservation a JOIN parking_reservation b ON a.taken @> lower(b.taken)
           WHERE a.state = 'booked' AND b.state = 'booked' GROUP BY b.id ORDER BY n DESC LIMIT 1""",
    )
    assert crowded[0]["n"] == 2


async def test_what_is_refused(web_db: Database, worker_db: Database, site: Site) -> None:
    start = soon()

    async def code(plate: str, since: datetime, until: datetime) -> str:
        with pytest.raises((Conflict, InvalidInput)) as refused:
            await book(web_db, site, plate, since, until)
        return refused.value.code

    assert await code(PLATE, start, start + HOUR) == "not-reservable"
    await rule(worker_db, site, 2)
    assert await code("?", start, start + HOUR) == "bad-plate"
    assert await code(PLATE, start, start) == "bad-times"
    assert await code(PLATE, start - 3 * HOUR, start + HOUR) == "in-the-past"
    assert await code(PLATE, start, start + timedelta(days=3)) == "reserved-too-long"
    assert await code(PLATE, start + timedelta(days=60), start + timedelta(days=60, hours=1)) == "too-far-ahead"
    await book(web_db, site, PLATE, start, start + HOUR)
    assert await code(PLATE, start + minutes(30), start + 2 * HOUR) == "reserved-already"
    with pytest.raises(Conflict) as refused:
        await rule(worker_db, site, 3)
    assert refused.value.code == "more-reserved-than-there-are"


async def test_a_vehicle_is_bound_by_the_time_it_came_in_whatever_comes_late(
    web_db: Database, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """The exit is told before the entry, and both long after the place was given up: the facts win."""
    await rule(worker_db, site, 1, no_show_minutes=20)
    now = datetime.now(UTC)
    since = now - minutes(90)
    made = await book(web_db, site, PLATE, since, since + 2 * HOUR, now=since - HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        assert await service.settle(conn, site.project_id, now) == 1
    assert (await the_one(web_db, site, made.id)).state == "no-show"
    other = await book(web_db, site, "粤B00001", now, now + minutes(10))

    entry, exit_ = (site.passage(*one) for one in (("entry", PLATE, since + minutes(5)), ("exit", PLATE, now)))
    await site.report(ingest_db, [exit_], now)
    assert (await the_one(web_db, site, made.id)).state == "no-show"
    await site.report(ingest_db, [entry], now)
    found = await the_one(web_db, site, made.id)
    (session,) = await rows(worker_db, "SELECT id FROM parking_session WHERE plate = %s", (PLATE,))
    assert (found.state, found.session_id) == ("done", session["id"])
    assert (await the_one(web_db, site, other.id)).state == "booked"


async def test_arrived_then_done_and_a_stay_that_is_none_any_more(
    web_db: Database, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await rule(worker_db, site, 1)
    now = datetime.now(UTC)
    made = await book(web_db, site, PLATE, now, now + HOUR, now=now - HOUR)
    too_early = site.passage("entry", PLATE, now - minutes(40))
    await site.report(ingest_db, [too_early], now)
    assert (await the_one(web_db, site, made.id)).state == "booked"
    await site.report(ingest_db, [site.passage("exit", PLATE, now - minutes(30))], now)
    await site.report(ingest_db, [site.passage("entry", PLATE, now - minutes(10))], now)
    assert (await the_one(web_db, site, made.id)).state == "arrived"
    with pytest.raises(Conflict) as refused:
        async with web_db.transaction(site.staff) as conn:
            await service.cancel(conn, made.id, "user:staff")
    assert refused.value.code == "not-awaited"
    async with worker_db.transaction(SYSTEM) as conn:
        # As when two stays turn out to be one: matching takes a stay away.
        await conn.execute("UPDATE passage SET session_id = NULL WHERE plate = %s", (PLATE,))
        await conn.execute("DELETE FROM parking_session WHERE plate = %s AND state = 'open'", (PLATE,))
    assert (await the_one(web_db, site, made.id)).state == "booked"


async def test_gateways_are_told_in_the_same_transaction_and_a_place_is_kept_free(
    web_db: Database, ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await rule(worker_db, site, 1)
    now = datetime.now(UTC)
    made = await book(web_db, site, PLATE, now + minutes(10), now + HOUR)
    (entry,) = await heard(worker_db)
    assert isinstance(entry, ReservationEntry)
    assert (entry.key, entry.plate, entry.lot) == (str(made.id), PLATE, "main")
    assert (entry.since, entry.until) == (_ms(made.arrive_from), _ms(made.arrive_until))

    async def capacity() -> int:
        await tell(worker_db, site.project_id, datetime.now(UTC))
        entries = [one for one in await heard(worker_db) if isinstance(one, LotEntry) and not one.vehicle_class]
        return entries[-1].capacity

    assert await capacity() == 1, "two spaces, one of them kept"
    await site.report(ingest_db, [site.passage("entry", PLATE, now)], now)
    assert await capacity() == 2, "it is inside, and counts as a stay"
    async with worker_db.transaction(SYSTEM) as conn:
        await service.settle(conn, site.project_id, now)
    assert await heard(worker_db) == [GoneEntry("reservation", str(made.id))]


async def test_a_cancelled_place_is_anothers_and_says_whether_it_was_in_time(
    web_db: Database, worker_db: Database, site: Site
) -> None:
    await rule(worker_db, site, 1, free_cancel_minutes=120)
    start = soon()
    made = await book(web_db, site, PLATE, start + 3 * HOUR, start + 4 * HOUR)
    async with web_db.transaction(site.staff) as conn:
        cancelled = await service.cancel(conn, made.id, "user:staff", "meeting moved")
        assert await service.cancel(conn, made.id, "user:staff") == cancelled
    assert (cancelled.state, cancelled.cancelled_in_time) == ("cancelled", True)
    assert await heard(worker_db) == [], "the gateway was never told of it"
    late = await book(web_db, site, "粤B00001", start, start + 4 * HOUR)
    async with web_db.transaction(site.staff) as conn:
        assert (await service.cancel(conn, late.id, "user:staff")).cancelled_in_time is False


async def _resident(people: People, owner_db: Database, site: Site, plate: str) -> Auth:
    (person,) = await rows(
        owner_db, "INSERT INTO person (project_id, name) VALUES (%s, '李娜') RETURNING id", (site.project_id,)
    )
    async with owner_db.transaction(SYSTEM) as conn:
        begin = datetime.now(UTC) - timedelta(days=1)
        await parking.register_vehicle(conn, site.project_id, plate, person["id"], valid_from=begin)
    return await people.resident(site.project_id, person["id"])


async def test_residents_reserve_for_their_vehicles_and_see_their_own(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, worker_db: Database, site: Site
) -> None:
    await rule(worker_db, site, 2, of_person=1)
    mine, other = await _resident(people, owner_db, site, PLATE), await _resident(people, owner_db, site, "粤B00001")
    start = soon()
    body = {
        "lot_id": site.lot_id, "plate": PLATE, "since": start.isoformat(), "until": (start + HOUR).isoformat(),
    }  # fmt: skip
    url = "/api/v1/parking-reservations"
    key = once()
    first = await app_client.post(url, json=body, headers={**mine, **key})
    assert first.status_code == 201, first.text
    assert (await app_client.post(url, json=body, headers={**mine, **key})).json() == first.json()
    assert (first.json()["plate"], first.json()["state"], first.json()["vehicle_class"]) == (PLATE, "booked", "small")
    foreign = await app_client.post(url, json=body, headers={**other, **once()})
    assert (foreign.status_code, foreign.json()["code"]) == (404, "not-your-vehicle")
    later = {**body, "since": (start + 2 * HOUR).isoformat(), "until": (start + 3 * HOUR).isoformat()}
    too_many = await app_client.post(url, json=later, headers={**mine, **once()})
    assert (too_many.status_code, too_many.json()["code"]) == (409, "too-many-reservations")
    assert (await app_client.get(url, headers=other)).json()["items"] == []
    cancel = f"{url}/{first.json()['id']}/cancellations"
    assert (await app_client.post(cancel, json={}, headers={**other, **once()})).status_code == 404
    done = await app_client.post(cancel, json={"reason": "ill"}, headers={**mine, **once()})
    assert (done.status_code, done.json()["state"]) == (201, "cancelled")
    assert [one["state"] for one in (await app_client.get(url, headers=mine)).json()["items"]] == ["cancelled"]


async def test_a_vehicle_that_was_his_once_is_his_to_reserve_for_no_more(
    app_client: httpx.AsyncClient, people: People, owner_db: Database, worker_db: Database, site: Site
) -> None:
    await rule(worker_db, site, 2, of_person=1)
    li = await _resident(people, owner_db, site, PLATE)
    async with owner_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE vehicle SET valid = tstzrange(lower(valid), now() - interval '1 hour')")
    start = soon()
    body = {
        "lot_id": site.lot_id, "plate": PLATE, "since": start.isoformat(), "until": (start + HOUR).isoformat(),
    }  # fmt: skip
    refused = await app_client.post("/api/v1/parking-reservations", json=body, headers={**li, **once()})
    assert (refused.status_code, refused.json()["code"]) == (404, "not-your-vehicle")


def _ms(instant: datetime) -> int:
    return int(instant.timestamp() * 1000)


async def test_late_passages_and_the_job_never_wait_for_each_other(worker_db: Database, site: Site) -> None:
    """Two vehicles came in time after all, and their reservations are being given up at the same moment."""
    plates = ("京B00001", "京B00002")
    since = soon()
    await rule(worker_db, site, 2, no_show_minutes=30)
    for plate in plates:
        await book(worker_db, site, plate, since, since + HOUR)
    now = since + HOUR

    async def gives_up() -> None:
        async with worker_db.transaction(SYSTEM) as other:
            await service.settle(other, site.project_id, now)

    async with worker_db.transaction(SYSTEM) as conn:
        await lock_plates(conn, site.project_id, plates)
        first, second = (site.passage("entry", plate, since) for plate in plates)
        await parking.apply_passages(conn, site.project_id, GATEWAY, [second], now)
        job = asyncio.create_task(gives_up())
        await until_waiting(worker_db)
        await parking.apply_passages(conn, site.project_id, GATEWAY, [first], now)
    await job
    assert {one["state"] for one in await rows(worker_db, "SELECT state FROM parking_reservation")} == {"arrived"}


async def test_a_vehicle_that_comes_while_its_reservation_is_cancelled_is_let_in_all_the_same(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """Whichever is first counts; what a gateway reports is never refused for it."""
    now = datetime.now(UTC)
    await rule(worker_db, site, 1)
    made = await book(worker_db, site, PLATE, now, now + HOUR, now)
    async with worker_db.transaction(site.staff) as conn:
        await service.cancel(conn, made.id, "user:staff")
        coming = asyncio.create_task(site.report(ingest_db, [site.passage("entry", PLATE, now)], now))
        await until_waiting(ingest_db)
    await coming
    assert (await the_one(worker_db, site, made.id)).state == "cancelled"
    assert len(await rows(worker_db, "SELECT id FROM parking_session WHERE state = 'open'")) == 1
