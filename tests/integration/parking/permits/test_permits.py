"""Permits on a real database: what they cover of stays, whose plates they are, and what is refused."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound
from cloud.kit.paging import PageRequest
from cloud.parking import service as parking
from cloud.parking.permits import endings, service
from cloud.parking.permits.records import Covered, PermitFilter
from tests.integration.parking.permits.holder import DAY, FIRST, SECOND, THIRD, make_permit
from tests.integration.parking.site import NOON, Site, minutes

HOUR = timedelta(hours=1)


async def visit(db: Database, site: Site, plate: str, came: datetime, left: datetime | None = None) -> None:
    """A vehicle comes, and leaves when that is said."""
    passages = [site.passage("entry", plate, came)]
    if left is not None:
        passages.append(site.passage("exit", plate, left))
    await site.report(db, passages, left or came)


async def covered(db: Database, site: Site, plates: Sequence[str], until: datetime) -> dict[str, list[Covered]]:
    async with db.transaction(SYSTEM) as conn:
        return await service.covered(conn, site.project_id, plates, NOON - DAY, until)


def at(site: Site, start: datetime, end: datetime, *permits: int) -> Covered:
    return Covered(site.lot_id, start, end, permits or (1,))


async def test_a_stay_is_covered_while_the_permit_holds(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await make_permit(worker_db, site, until=NOON + 2 * HOUR)
    await visit(ingest_db, site, FIRST, NOON, NOON + 5 * HOUR)
    await visit(ingest_db, site, SECOND, NOON, NOON + HOUR)
    found = await covered(worker_db, site, [FIRST, SECOND], NOON + DAY)
    assert found == {FIRST: [at(site, NOON, NOON + 2 * HOUR)]}


async def test_a_stay_that_goes_on_is_covered_up_to_now(ingest_db: Database, worker_db: Database, site: Site) -> None:
    await make_permit(worker_db, site)
    await visit(ingest_db, site, FIRST, NOON)
    assert await covered(worker_db, site, [FIRST], NOON + HOUR) == {FIRST: [at(site, NOON, NOON + HOUR)]}


async def test_two_cars_of_one_space_and_who_else_is_concerned(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await make_permit(worker_db, site, (FIRST, SECOND), spaces=1, when_freed="from-then")
    await visit(ingest_db, site, SECOND, NOON + HOUR, NOON + 6 * HOUR)
    assert await covered(worker_db, site, [SECOND], NOON + DAY) == {SECOND: [at(site, NOON + HOUR, NOON + 6 * HOUR)]}
    # Told late: the first one was there before.
    await visit(ingest_db, site, FIRST, NOON, NOON + 3 * HOUR)
    assert await covered(worker_db, site, [SECOND], NOON + DAY) == {
        SECOND: [at(site, NOON + 3 * HOUR, NOON + 6 * HOUR)]
    }
    async with worker_db.transaction(SYSTEM) as conn:
        assert await service.affected_plates(conn, site.project_id, [FIRST, THIRD]) == {FIRST, SECOND, THIRD}


async def test_who_came_long_before_counts_although_it_is_not_asked_about(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    await make_permit(worker_db, site, (FIRST, SECOND, THIRD), spaces=1)
    await visit(ingest_db, site, FIRST, NOON, NOON + 3 * HOUR)
    await visit(ingest_db, site, SECOND, NOON + 2 * HOUR, NOON + 8 * HOUR)
    await visit(ingest_db, site, THIRD, NOON + 7 * HOUR, NOON + 9 * HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        found = await service.covered(conn, site.project_id, [THIRD], NOON + 8 * HOUR, NOON + DAY)
    # SECOND came while FIRST stood there: temporary for its whole stay, so that the space is free for THIRD.
    assert found == {THIRD: [at(site, NOON + 7 * HOUR, NOON + 9 * HOUR)]}


async def test_a_resident_is_told_the_same_as_staff(
    ingest_db: Database, worker_db: Database, web_db: Database, site: Site
) -> None:
    await make_permit(worker_db, site, (FIRST, SECOND), spaces=1)
    await visit(ingest_db, site, FIRST, NOON)
    await visit(ingest_db, site, SECOND, NOON + HOUR)
    stranger = replace(site.staff, kind="resident", persons=(4711,))
    async with web_db.transaction(stranger) as conn:
        found = await service.covered(conn, site.project_id, [FIRST, SECOND], NOON, NOON + 2 * HOUR)
        assert (await service.list_permits(conn, PageRequest(10), PermitFilter())).items == []
    assert found == {FIRST: [at(site, NOON, NOON + 2 * HOUR)]}
    elsewhere = replace(stranger, projects=())
    async with web_db.transaction(elsewhere) as conn:
        assert await service.covered(conn, site.project_id, [FIRST], NOON, NOON + 2 * HOUR) == {}


async def test_a_suspension_covers_nothing_and_its_time_stays_known(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site)
    await visit(ingest_db, site, FIRST, NOON, NOON + 6 * HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        suspended = await service.suspend(conn, permit.id, "unpaid", NOON + 2 * HOUR)
        assert (suspended.state, suspended.suspended_reason) == ("suspended", "unpaid")
        with pytest.raises(Conflict, match="suspended already"):
            await service.suspend(conn, permit.id, "again", NOON + 3 * HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await service.resume(conn, permit.id, NOON + 4 * HOUR)).state == "active"
    assert await covered(worker_db, site, [FIRST], NOON + DAY) == {
        FIRST: [at(site, NOON, NOON + 2 * HOUR), at(site, NOON + 4 * HOUR, NOON + 6 * HOUR)]
    }


async def test_plates_come_and_go_with_their_history(ingest_db: Database, worker_db: Database, site: Site) -> None:
    permit = await make_permit(worker_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        await service.add_plate(conn, permit.id, "京b·67890", NOON + HOUR, NOON)
        changed = await service.remove_plate(conn, permit.id, FIRST, NOON + 2 * HOUR, NOON)
        assert changed.plates == [FIRST]
        detail = await service.get_detail(conn, permit.id, NOON + 3 * HOUR)
    assert detail.permit.plates == [SECOND]
    assert [(one.plate, one.valid_from, one.valid_until) for one in detail.plates] == [
        (FIRST, NOON - DAY, NOON + 2 * HOUR),
        (SECOND, NOON + HOUR, None),
    ]
    for plate in (FIRST, SECOND):
        await visit(ingest_db, site, plate, NOON, NOON + 4 * HOUR)
    assert await covered(worker_db, site, [FIRST, SECOND], NOON + DAY) == {
        FIRST: [at(site, NOON, NOON + 2 * HOUR)],
        SECOND: [at(site, NOON + HOUR, NOON + 4 * HOUR)],
    }


async def test_a_plate_has_one_permit_at_a_lot_and_time(worker_db: Database, site: Site) -> None:
    permit = await make_permit(worker_db, site, (FIRST, SECOND), until=NOON + DAY)
    with pytest.raises(Conflict, match=f"{SECOND} has permit {permit.id} at lot main") as refused:
        await make_permit(worker_db, site, (SECOND, THIRD), since=NOON, until=None)
    assert refused.value.code == "plate-has-permit"
    following = await make_permit(worker_db, site, (SECOND,), since=NOON + DAY, until=None)
    async with worker_db.transaction(SYSTEM) as conn:
        inner = await parking.create_lot(conn, site.project_id, "inner", "Inner lot", 2, parent_id=site.lot_id)
    await make_permit(worker_db, site, (SECOND,), lots=(inner.id,))
    async with worker_db.transaction(SYSTEM) as conn:
        await service.add_plate(conn, following.id, THIRD, NOON + DAY, NOON)
        await service.add_plate(conn, permit.id, THIRD, NOON, NOON)
    with pytest.raises(Conflict, match="has permit"):
        await make_permit(worker_db, site, (THIRD,))


async def test_an_ended_permit_frees_its_plates_and_has_no_grace(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    permit = await make_permit(worker_db, site, grace_days=5)
    await visit(ingest_db, site, FIRST, NOON, NOON + DAY)
    async with worker_db.transaction(SYSTEM) as conn:
        ended = await endings.end_permit(conn, permit.id, "moved out", at=NOON + HOUR)
        assert ended.permit.state == "ended"
        assert ended.refunded == ended.credited == 0
    assert await covered(worker_db, site, [FIRST], NOON + DAY) == {FIRST: [at(site, NOON, NOON + HOUR)]}
    await make_permit(worker_db, site, since=NOON + HOUR)
    with pytest.raises(Conflict, match="was ended"):
        async with worker_db.transaction(SYSTEM) as conn:
            await service.add_plate(conn, permit.id, SECOND, at=NOON + 2 * HOUR)


async def test_permits_are_found_by_what_is_known_of_them(worker_db: Database, site: Site) -> None:
    first = await make_permit(worker_db, site, kind="staff", until=None)
    second = await make_permit(worker_db, site, (SECOND,), until=NOON - HOUR)
    third = await make_permit(worker_db, site, (THIRD,), since=NOON + DAY)

    async def found(**wanted: object) -> list[int]:
        async with worker_db.transaction(SYSTEM) as conn:
            page = await service.list_permits(conn, PageRequest(10), PermitFilter(**wanted), NOON)  # type: ignore[arg-type]
        return [one.id for one in page.items]

    assert await found() == [third.id, second.id, first.id]
    assert await found(state="active", lot_id=site.lot_id) == [first.id]
    assert await found(state="expired") == await found(ends_before=NOON) == [second.id]
    assert await found(state="future") == await found(plate="粤c 11111") == [third.id]
    assert await found(kind="staff") == [first.id]


async def test_what_is_refused(worker_db: Database, site: Site) -> None:
    async def code(**values: object) -> str:
        with pytest.raises(GatemeterError) as refused:
            await make_permit(worker_db, site, **values)  # type: ignore[arg-type]
        return refused.value.code

    assert await code(kind="monthly-card") == "card-is-sold"
    assert await code(until=NOON - 2 * DAY) == "bad-validity"
    assert await code(plates=("!!",)) == "bad-plate"
    assert await code(plates=()) == "too-many-plates"
    assert await code(lots=(4711,)) == "no-lot"
    async with worker_db.transaction(SYSTEM) as conn:
        with pytest.raises(NotFound):
            await service.get_permit(conn, 4711)
        with pytest.raises(InvalidInput):
            await service.list_permits(conn, PageRequest(10), PermitFilter(plate="!"))
    permit = await make_permit(worker_db, site)
    async with worker_db.transaction(SYSTEM) as conn:
        with pytest.raises(NotFound):
            await service.remove_plate(conn, permit.id, SECOND, at=NOON)
        with pytest.raises(Conflict):
            await service.add_plate(conn, permit.id, FIRST, at=NOON + minutes(1))
