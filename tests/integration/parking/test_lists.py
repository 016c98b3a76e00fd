"""Black and white lists: put on and taken off, never deleted, and known to the gateways that they concern."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from cloud.devices import access
from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.kit.periods import in_ms
from cloud.parking import jobs, service
from cloud.parking.lists import service as lists
from cloud.parking.lists.covering import white_times
from cloud.parking.lists.records import Entry, EntryFilter, Listed, NewEntry
from cloud.parking.lists.telling import tell_lists
from gateway.contract import codec
from gateway.contract.access import AccessEntry, AccessUpdate, GoneEntry, ListEntry, Listing, as_sent, read_entry
from gateway.contract.limits import MAX_TIME_MS
from tests.integration.app import People
from tests.integration.parking.site import NOON, Site, rows
from tests.integration.parking.test_places import Desk

PLATE = "京A66666"
HOUR = timedelta(hours=1)


@pytest.fixture
async def desk(app_client: httpx.AsyncClient, people: People, site: Site) -> Desk:
    return Desk(app_client, await people.staff("manager", site.project_id), site)


async def told(db: Database) -> dict[int, list[AccessEntry]]:
    """What each gateway is told now."""
    async with db.transaction(SYSTEM) as conn:
        found = {}
        for due in await access.take_due(conn, 10):
            found[due.gateway_id] = await access.entries_of(conn, due)
            await access.mark_sent(conn, due)
        return found


async def only(db: Database) -> list[AccessEntry]:
    """What the one gateway is told now."""
    found = await told(db)
    return next(iter(found.values())) if found else []


async def put(
    db: Database, site: Site, listing: Listed = "black", lot_id: int | None = None, start: datetime = NOON,
    end: datetime | None = None, now: datetime = NOON,
) -> Entry:  # fmt: skip
    async with db.transaction(SYSTEM) as conn:
        new = NewEntry(site.project_id, listing, PLATE, "blocked the fire lane", lot_id, start, end)
        return await lists.add(conn, new, "user:1", now)


async def compare(db: Database, site: Site, now: datetime) -> int:
    async with db.transaction(SYSTEM) as conn:
        return await tell_lists(conn, site.project_id, now)


async def second_gateway(db: Database, site: Site) -> tuple[int, int]:
    """A gateway with a lane of another lot: (gateway, lot)."""
    async with db.transaction(SYSTEM) as conn:
        edge = await devices.create_gateway(conn, site.project_id, "gw2", "Other gate")
        lot = await service.create_lot(conn, site.project_id, "other", "Other lot", 3)
        device = await devices.create_device(conn, site.project_id, edge.id, "in", "barrier")
        await service.create_lane(conn, lot.id, "in", "in", "entry", device.id)
        return edge.id, lot.id


async def test_an_entry_is_told_when_it_is_made_and_when_it_is_ended(worker_db: Database, site: Site) -> None:
    entry = await put(worker_db, site, "white", site.lot_id, end=NOON + HOUR)
    wire = ListEntry(f"plate-{entry.id}", PLATE, Listing.WHITE, "main", in_ms(NOON + HOUR), in_ms(NOON))
    assert await only(worker_db) == [wire]
    assert await compare(worker_db, site, NOON) == 0
    async with worker_db.transaction(SYSTEM) as conn:
        await lists.end(conn, entry.id, "sold the car", "user:2", NOON)
    assert await only(worker_db) == [GoneEntry("list", wire.key)]
    (kept,) = await rows(worker_db, "SELECT reason, added_by, ended_by, end_reason FROM parking_list_entry")
    assert tuple(kept.values()) == ("blocked the fire lane", "user:1", "user:2", "sold the car")


async def test_an_entry_of_later_is_told_now_with_its_time_and_taken_back_when_it_is_over(
    worker_db: Database, site: Site
) -> None:
    await put(worker_db, site, start=NOON + HOUR, end=NOON + 2 * HOUR)
    (entry,) = await only(worker_db)
    assert isinstance(entry, ListEntry)
    assert (entry.since, entry.until, entry.lot) == (in_ms(NOON + HOUR), in_ms(NOON + 2 * HOUR), "")
    for later in (HOUR, 1.5 * HOUR):
        assert await compare(worker_db, site, NOON + later) == 0
    assert await compare(worker_db, site, NOON + 2 * HOUR) == 1
    assert await only(worker_db) == [GoneEntry("list", entry.key)]
    assert await compare(worker_db, site, NOON + 3 * HOUR) == 0


async def test_only_gateways_with_lanes_of_the_lot_are_told(worker_db: Database, site: Site) -> None:
    gateway, lot = await second_gateway(worker_db, site)
    await put(worker_db, site, lot_id=lot)
    assert list(await told(worker_db)) == [gateway]
    await put(worker_db, site, "white", site.lot_id)
    assert gateway not in await told(worker_db)
    await put(worker_db, site, "white", start=NOON - HOUR, end=NOON + HOUR)
    assert len(await told(worker_db)) == 2


async def test_a_gateway_that_gets_a_lane_later_is_told_what_is_on_the_lists(worker_db: Database, site: Site) -> None:
    future = datetime.now(UTC) + timedelta(days=1)
    entry = await put(worker_db, site, start=future)
    await told(worker_db)
    gateway, _ = await second_gateway(worker_db, site)
    found = await told(worker_db)
    assert list(found) == [gateway]
    assert [one.key for one in found[gateway]] == [f"plate-{entry.id}"]


async def test_a_lot_without_lanes_any_more_concerns_its_gateway_no_longer(worker_db: Database, site: Site) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        gateway = (await devices.get_device(conn, site.entry.device_id)).gateway_id
        device = await devices.create_device(conn, site.project_id, gateway, "more", "barrier")
        inner = await service.create_lot(conn, site.project_id, "inner", "Inner", 3)
        lane = await service.create_lane(conn, inner.id, "in", "in", "entry", device.id)
    entry = await put(worker_db, site, lot_id=inner.id, start=datetime.now(UTC), now=datetime.now(UTC))
    assert len(await only(worker_db)) == 1
    async with worker_db.transaction(SYSTEM) as conn:
        await service.retire_lane(conn, lane.id)
    assert await only(worker_db) == [GoneEntry("list", f"plate-{entry.id}")]


async def test_lists_of_other_features_are_left_alone(worker_db: Database, site: Site) -> None:
    owing = ListEntry("owing-1", PLATE, Listing.OWING)
    async with worker_db.transaction(SYSTEM) as conn:
        gateway = (await devices.get_device(conn, site.entry.device_id)).gateway_id
        await access.tell(conn, site.project_id, [gateway], [owing])
    await told(worker_db)
    assert await compare(worker_db, site, NOON) == 0


async def test_what_is_refused_is_not_told(worker_db: Database, site: Site, desk: Desk) -> None:
    good = {"project_id": site.project_id, "listing": "black", "plate": "京A·66666", "reason": "x"}

    async def code(status: int, **body: Any) -> str:
        return str((await desk.post("parking-list-entries", status, **{**good, **body}))["code"])

    past = (datetime.now(UTC) - HOUR).isoformat()
    assert await code(422, plate="") == "invalid-input"
    assert await code(422, plate="A") == "bad-plate"
    assert await code(422, plate="A" * 17) == "bad-plate"
    assert await code(422, plate="京A<66>") == "bad-plate"
    assert await code(422, plate="x" * 65) == "invalid-input"
    assert await code(422, reason="") == "invalid-input"
    assert await code(422, reason="  ") == "no-reason"
    assert await code(422, reason="x" * 501) == "invalid-input"
    assert await code(422, listing="grey") == "invalid-input"
    assert await code(404, lot_id=4711) == "no-lot"
    assert await code(422, valid_until=past) == "bad-validity"
    assert await code(422, valid_until="2026-01-01T00:00:00") == "invalid-input"
    assert await told(worker_db) == {}


async def test_a_plate_is_on_one_list_of_the_same_lots_at_a_time(desk: Desk, site: Site) -> None:
    async def post(status: int = 201, **body: Any) -> dict[str, Any]:
        good = {"project_id": site.project_id, "listing": "black", "plate": PLATE, "reason": "x"}
        return await desk.post("parking-list-entries", status, **{**good, **body})

    now = datetime.now(UTC)
    everywhere = await post(valid_until=(now + HOUR).isoformat())
    assert (await post(409))["code"] == "list-overlap"
    assert (await post(409, listing="white"))["code"] == "list-overlap"
    assert (await post(409, listing="white", lot_id=site.lot_id))["code"] == "list-contradiction"
    later = await post(listing="white", lot_id=site.lot_id, valid_from=(now + HOUR).isoformat())
    assert later["state"] == "coming"
    await desk.post(f"parking-list-entries/{everywhere['id']}/end", reason="paid")
    again = await desk.post(f"parking-list-entries/{everywhere['id']}/end", 409, reason="paid")
    assert again["code"] == "entry-over"
    assert (await post(409))["code"] == "list-contradiction"
    assert (await post(listing="white"))["state"] == "in-force"


async def test_a_race_for_one_plate_has_one_winner(worker_db: Database, site: Site) -> None:
    """What the service looks at before is only the better words; the constraint decides."""
    await put(worker_db, site)
    query = """INSERT INTO parking_list_entry (project_id, listing, plate, valid_from, reason, added_by)
               VALUES (%s, 'white', %s, now(), 'x', 'x') RETURNING id"""
    with pytest.raises(Exception, match="one_list_at_a_time"):
        await rows(worker_db, query, (site.project_id, PLATE))


async def test_an_entry_that_was_ended_before_it_began_stands_in_nobodys_way(worker_db: Database, site: Site) -> None:
    entry = await put(worker_db, site, start=NOON + HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        await lists.end(conn, entry.id, "mistake", "user:1", NOON)
    assert (await put(worker_db, site, "white", start=NOON + HOUR)).listing == "white"


async def test_the_times_on_the_white_list_are_known_to_who_prices_stays(worker_db: Database, site: Site) -> None:
    first = await put(worker_db, site, "white", site.lot_id, NOON, NOON + HOUR)
    await put(worker_db, site, "white", site.lot_id, NOON + HOUR)
    mistake = await put(worker_db, site, "white", None, NOON + HOUR)
    await put(worker_db, site, "black", None, NOON - 2 * HOUR, NOON, NOON - 2 * HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        await lists.end(conn, mistake.id, "mistake", "user:1", NOON)

        async def times(since: datetime, until: datetime) -> list[tuple[int | None, datetime, datetime | None]]:
            found = await white_times(conn, site.project_id, [PLATE, "京B1"], since, until)
            assert set(found) <= {PLATE}
            return [(one.lot_id, one.start, one.end) for one in found.get(PLATE, [])]

        whole = [(site.lot_id, NOON, NOON + HOUR), (site.lot_id, NOON + HOUR, None)]
        assert await times(NOON, NOON + 2 * HOUR) == whole
        assert await times(NOON + HOUR, NOON + 2 * HOUR) == whole[1:]
        assert await times(NOON - HOUR, NOON + HOUR / 2) == whole[:1]
        await lists.end(conn, (first.id + 1), "moved", "user:1", NOON + 2 * HOUR)
        assert await times(NOON + HOUR, NOON + 3 * HOUR) == [(site.lot_id, NOON + HOUR, NOON + 2 * HOUR)]


async def test_entries_are_listed_by_plate_lot_list_and_time(desk: Desk, site: Site, worker_db: Database) -> None:
    await put(worker_db, site, end=NOON + HOUR)
    await put(worker_db, site, "white", site.lot_id, start=NOON + 2 * HOUR)

    async def found(query: str) -> list[str]:
        return [one["listing"] for one in await desk.items(f"parking-list-entries?{query}")]

    assert await found("") == ["white", "black"]
    assert await found("listing=black") == ["black"]
    assert await found(f"lot_id={site.lot_id}") == ["white"]
    assert await found("plate=京a·66") == ["white", "black"]
    assert await found("plate=粤") == []
    async with worker_db.transaction(SYSTEM) as conn:
        current = EntryFilter(site.project_id, current_at=NOON + HOUR)
        page = await lists.list_entries(conn, PageRequest(10), current)
    assert [one.listing for one in page.items] == ["white"]


async def test_residents_see_no_lists_and_guards_change_none(
    desk: Desk, app_client: httpx.AsyncClient, people: People, owner_db: Database, site: Site
) -> None:
    await put(owner_db, site)
    (person,) = await rows(
        owner_db, "INSERT INTO person (project_id, name) VALUES (%s, '李娜') RETURNING id", (site.project_id,)
    )
    resident = Desk(app_client, await people.resident(site.project_id, person["id"]), site)
    assert await resident.items("parking-list-entries") == []
    guard = Desk(app_client, await people.staff("guard", site.project_id), site)
    (entry,) = await guard.items("parking-list-entries")
    assert (await guard.post(f"parking-list-entries/{entry['id']}/end", 403, reason="x"))["code"] == "no-permission"
    stranger = Desk(app_client, await people.staff("admin", (await people.project("other")).id), site)
    assert await stranger.items("parking-list-entries") == []


async def test_the_job_of_each_minute_tells_what_nobody_told(worker_db: Database, site: Site) -> None:
    """A gateway is told whatever became of the lists meanwhile: here an entry that ended with its time."""
    now = datetime.now(UTC)
    entry = await put(worker_db, site, start=now - 2 * HOUR, end=now - HOUR, now=now - 2 * HOUR)
    assert [one.key for one in await only(worker_db)] == [f"plate-{entry.id}"]
    await jobs.tell_gateways(JobContext(1, None, {}, worker_db))
    assert GoneEntry("list", f"plate-{entry.id}") in await only(worker_db)


@pytest.mark.parametrize(("start", "end"), [(1900, 2199), (1969, None), (2150, 2160)])
async def test_a_time_that_the_wire_cannot_say_breaks_no_message(
    worker_db: Database, site: Site, start: int, end: int | None
) -> None:
    """A gateway refuses a message as a whole: nothing would reach its lanes any more."""
    first, last = datetime(start, 1, 1, tzinfo=UTC), None if end is None else datetime(end, 1, 1, tzinfo=UTC)
    await put(worker_db, site, start=first, end=last)
    entries = await only(worker_db)
    update = AccessUpdate(1, "p", "gw1", 0, 1, 1, 1, in_ms(NOON), tuple(map(as_sent, entries)), "test", "k1")
    (entry,) = map(read_entry, codec.decode_access(codec.encode_access(update)).entries)
    assert isinstance(entry, ListEntry)
    assert (entry.since > in_ms(NOON)) is (first > NOON)
    assert entry.until in (0, MAX_TIME_MS)
