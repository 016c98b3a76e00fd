"""What gateways are told of permits: with the change, only what differs, and all of it when a lane is added."""

from datetime import UTC, datetime, timedelta

import pytest

from cloud.devices import access
from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.kit.periods import in_ms
from cloud.parking import service as parking
from cloud.parking.permits import cards, endings, jobs, service, telling
from cloud.parking.permits.records import Pay
from gateway.contract.access import AccessEntry, GoneEntry, PermitEntry, StayEntry
from gateway.contract.limits import MAX_TIME_MS
from tests.integration.parking.permits.holder import (
    DAY,
    FIRST,
    SECOND,
    THIRD,
    local,
    make_home,
    make_permit,
    make_product,
)
from tests.integration.parking.site import NOON, Site
from tests.integration.parking.told import heard, tell

HOUR_MS = 3_600_000


async def told(db: Database) -> list[AccessEntry]:
    """What gateways have to be told of permits by now, as one step each."""
    return [one for one in await heard(db) if isinstance(one, PermitEntry) or getattr(one, "kind", "") == "permit"]


async def test_every_change_is_told_in_its_transaction(worker_db: Database, site: Site) -> None:
    permit = await make_permit(worker_db, site, (FIRST, SECOND), spaces=1, grace_days=2, until=NOON + 30 * DAY)
    key, until = f"{permit.id}-0", in_ms(NOON + 30 * DAY)
    whole = PermitEntry(key, (FIRST, SECOND), in_ms(NOON - DAY), until, 48 * HOUR_MS, 1, ("main",))
    assert await told(worker_db) == [whole]

    async with worker_db.transaction(SYSTEM) as conn:
        await service.remove_plate(conn, permit.id, SECOND, NOON + DAY, NOON)
    cut = in_ms(NOON + DAY)
    assert await told(worker_db) == [
        PermitEntry(key, (FIRST, SECOND), in_ms(NOON - DAY), cut, 0, 1, ("main",)),
        PermitEntry(f"{permit.id}-1", (FIRST,), cut, until, 48 * HOUR_MS, 1, ("main",)),
    ]
    async with worker_db.transaction(SYSTEM) as conn:
        await endings.end_permit(conn, permit.id, "moved out", at=NOON)
    assert await told(worker_db) == [
        PermitEntry(key, (FIRST, SECOND), in_ms(NOON - DAY), in_ms(NOON), 0, 1, ("main",)),
        GoneEntry("permit", f"{permit.id}-1"),
    ]
    async with worker_db.transaction(SYSTEM) as conn:
        assert await telling.tell(conn, site.project_id, [permit.id], NOON) == 0, "nothing is told twice"


async def test_what_is_rolled_back_is_not_told(worker_db: Database, site: Site) -> None:
    permit = await make_permit(worker_db, site, until=None)
    assert [one.valid_to for one in await told(worker_db) if isinstance(one, PermitEntry)] == [MAX_TIME_MS]

    async def fails() -> None:
        async with worker_db.transaction(SYSTEM) as conn:
            await service.suspend(conn, permit.id, "unpaid", NOON)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        await fails()
    assert await told(worker_db) == []


async def test_a_renewal_tells_the_longer_time(worker_db: Database, site: Site) -> None:
    home = await make_home(worker_db, site)
    product = await make_product(worker_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        permit = await cards.sell(conn, product.id, home.holds(FIRST), 1, Pay(product.price, "cash"), at=NOON)
        assert permit.valid_until is not None
        renewed = await cards.renew(conn, permit.id, 1, permit.valid_until, Pay(product.price, "cash"), at=NOON)
    assert renewed.valid_until is not None
    (entry,) = await told(worker_db)
    assert isinstance(entry, PermitEntry)
    assert (entry.valid_from, entry.valid_to) == (in_ms(permit.valid_from), in_ms(renewed.valid_until))


async def test_a_gateway_that_gets_a_lane_later_is_told_all_permits_of_its_lots_once(
    worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telling, "CHUNK", 2)
    now = datetime.now(UTC)
    async with worker_db.transaction(SYSTEM) as conn:
        other = await parking.create_lot(conn, site.project_id, "other", "Other lot", 2)
    permits = [
        await make_permit(worker_db, site, (plate,), since=now, until=None, lots=(lot,), at=now)
        for plate, lot in ((FIRST, other.id), (SECOND, site.lot_id), (THIRD, other.id), ("粤D22222", other.id))
    ]
    context = JobContext(1, None, {}, worker_db, 1)
    assert await jobs.tell_permits(context) == {"gateways": 1}
    assert [entry.key for entry in await told(worker_db)] == [f"{permits[1].id}-0"]
    assert await jobs.tell_permits(context) == {"gateways": 0}

    async with worker_db.transaction(SYSTEM) as conn:
        second = await devices.create_gateway(conn, site.project_id, "gw2", "Second")
        device = await devices.create_device(conn, site.project_id, second.id, "in", "barrier")
        lane = await parking.create_lane(conn, other.id, "in", "in", "entry", device.id)
    assert await jobs.tell_permits(context) == {"gateways": 1}
    others = {f"{permits[number].id}-0" for number in (0, 2, 3)}
    assert {entry.key for entry in await told(worker_db)} == others
    assert await jobs.tell_permits(context) == {"gateways": 0}

    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM parking_lane WHERE id = %s", (lane.id,))
    assert await jobs.tell_permits(context) == {"gateways": 1}
    gone = await told(worker_db)
    assert {entry.key for entry in gone if isinstance(entry, GoneEntry)} == others


async def test_the_night_forgets_what_is_over_for_long(worker_db: Database, site: Site) -> None:
    now = datetime.now(UTC)
    over = await make_permit(worker_db, site, since=now - 90 * DAY, until=now - 29 * DAY, at=now)
    await make_permit(worker_db, site, (SECOND,), since=now, until=None, at=now)
    assert len(await told(worker_db)) == 2
    async with worker_db.transaction(SYSTEM) as conn:
        await telling.tell_chunk(conn, site.project_id, await gateway(worker_db), [site.lot_id], 0, now + 2 * DAY)
    assert await told(worker_db) == [GoneEntry("permit", f"{over.id}-0")]
    context = JobContext(1, None, {}, worker_db, 1)
    result = await jobs.tend_permits(context)
    assert result == {"renewed": 0, "not_renewed": 0, "reminded": 0, "not_reminded": 0, "gateways": 1}


async def test_cards_are_renewed_and_holders_reminded_by_the_job(worker_db: Database, site: Site) -> None:
    home = await make_home(worker_db, site)
    product = await make_product(worker_db, site)
    now = datetime.now(UTC)
    month_ago = now - 28 * DAY
    for plate, renews in ((FIRST, True), (SECOND, False)):
        async with worker_db.transaction(SYSTEM) as conn:
            permit = await cards.sell(conn, product.id, home.holds(plate), 1, Pay(product.price), at=month_ago)
            await service.change_permit(conn, permit.id, home.holds(), renews=renews, at=month_ago)
    soon = local((now + 2 * DAY).date())
    async with worker_db.transaction(SYSTEM) as conn:  # months have different lengths: both end the day after tomorrow
        await conn.execute("UPDATE permit_period SET valid = tstzrange(lower(valid), %s)", (soon,))
    result = await jobs.tend_permits(JobContext(1, None, {}, worker_db, 1))
    assert {name: count for name, count in result.items() if name != "gateways"} == {
        "renewed": 1,
        "not_renewed": 0,
        "reminded": 1,
        "not_reminded": 0,
    }


async def test_stays_are_told_with_who_stands_on_the_space(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await make_permit(worker_db, site, (FIRST, SECOND), spaces=1)
    for minutes_, plate in ((0, FIRST), (5, SECOND), (6, THIRD)):
        came = NOON + timedelta(minutes=minutes_)
        await site.report(ingest_db, [site.passage("entry", plate, came)], came)

    async def standing(now: datetime) -> dict[str, bool]:
        await tell(worker_db, site.project_id, now)
        async with worker_db.transaction(SYSTEM) as conn:
            found = [one for due in await access.take_due(conn, 10) for one in await access.entries_of(conn, due)]
        return {one.plate: one.covered for one in found if isinstance(one, StayEntry)}

    # The clock of the camera is a little ahead: who has just come is not told to be off its space.
    assert await standing(NOON - timedelta(seconds=1)) == {FIRST: True, SECOND: False, THIRD: False}
    assert (await standing(NOON + 10 * DAY))[FIRST]


async def gateway(db: Database) -> int:
    async with db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT id FROM gateway")).fetchone()
    assert row is not None
    return int(row["id"])
