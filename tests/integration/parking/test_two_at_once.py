"""Two at once give coupons, spaces or news of vehicles: nobody gets what another has, waits for ever or is left out."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from cloud.kit.db import SYSTEM, Conn, Database
from cloud.parking.coupons import giving
from cloud.parking.coupons import service as coupons
from cloud.parking.coupons.records import Batch, NewBatch
from cloud.parking.permits import service, standing
from cloud.parking.permits.records import Holding, NewPermit, Permit
from cloud.parking.spaces import service as spaces
from cloud.parking.spaces.records import NewSpace
from cloud.parking.stays.repository import lock_plates
from tests.integration.parking.permits.holder import DAY, make_permit
from tests.integration.parking.site import NOON, Site, rows, until_waiting

FIRST, SECOND = "京A12345", "粤B67890"
_GATE = 4711

Gift = Callable[[Conn, Batch, str], Awaitable[object]]


async def _give(conn: Conn, batch: Batch, plate: str) -> object:
    return await giving.give(conn, batch.merchant_id, batch.id, plate, "user:2", NOON + timedelta(hours=1))


async def _hand_out(conn: Conn, batch: Batch, _: str) -> object:
    return await giving.hand_out(conn, batch.merchant_id, batch.id, "user:2", NOON + timedelta(hours=1))


@pytest.mark.parametrize("gift", [_give, _hand_out])
async def test_of_two_gifts_at_once_each_is_a_coupon_of_its_own(
    ingest_db: Database, worker_db: Database, site: Site, gift: Gift, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is done while the second searches: what the second finds was free when its search began."""
    await site.report(ingest_db, [site.passage("entry", plate, NOON) for plate in (FIRST, SECOND)], NOON)
    day = NOON.date()
    async with worker_db.transaction(SYSTEM) as conn:
        merchant = await coupons.create_merchant(conn, site.project_id, "Noodles", "monthly")
        new = NewBatch(merchant.id, "hours", Decimal(2), Decimal(1), 2, day, day + DAY)
        batch = await coupons.issue(conn, new, "user:1", NOON)
    gated = f"AND (SELECT true FROM pg_advisory_xact_lock({_GATE})) AND c.batch_id"
    monkeypatch.setattr(giving, "_FREE", giving._FREE.replace("AND c.batch_id", gated))

    async def second() -> object:
        async with worker_db.transaction(SYSTEM) as other:
            return await gift(other, batch, SECOND)

    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("SELECT pg_advisory_xact_lock(%s)", (_GATE,))
        task = asyncio.create_task(second())
        await until_waiting(worker_db)
        await gift(conn, batch, FIRST)
    await task
    used = await rows(
        worker_db, "SELECT coupon_id FROM coupon_redemption UNION ALL SELECT coupon_id FROM coupon_handout"
    )
    assert len({row["coupon_id"] for row in used}) == 2


async def _written(conn: Conn, site: Site, plate: str, text: str) -> Permit:
    holding = Holding((plate,), note="test", space=text)
    new = NewPermit("owner-space", (site.lot_id,), NOON - DAY, None, holding)
    return await service.create_permit(conn, site.project_id, new)


async def test_written_numbers_are_matched_while_one_of_the_spaces_is_given(worker_db: Database, site: Site) -> None:
    """More permits than are looked at in one go, so that some are not locked when the first one has its space."""
    async with worker_db.transaction(SYSTEM) as conn:
        space = await spaces.create(conn, site.lot_id, NewSpace("A1"), datetime.now(UTC))
        first = await _written(conn, site, FIRST, "A1")
        others = [await _written(conn, site, f"京B000{nth:02}", "somewhere") for nth in range(70)]

    async def match() -> int:
        async with worker_db.transaction(SYSTEM) as other:
            return await standing.match_written(other, site.project_id)

    async with worker_db.transaction(SYSTEM) as conn:
        await service.locked_permit(conn, others[-1].id, datetime.now(UTC))
        task = asyncio.create_task(match())
        await until_waiting(worker_db)
        await standing.give_space(conn, others[-1].id, space.id)
    assert await task == 0
    async with worker_db.transaction(SYSTEM) as conn:
        assert (await service.get_permit(conn, others[-1].id)).space_numbers == ["A1"]
        assert (await service.get_permit(conn, first.id)).space == "A1", "still only in writing"


async def test_news_of_a_vehicle_wait_for_who_shares_a_permit_with_one_that_looks_like_it(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """The news may change the stay of the one that looks like it, and so what stays of the third cost."""
    alike, read = "京A1234O", "京A12340"
    await make_permit(worker_db, site, (alike, SECOND), spaces=1)

    async def report() -> object:
        return await site.report(ingest_db, [site.passage("exit", read, NOON)], NOON)

    async with worker_db.transaction(SYSTEM) as conn:
        await lock_plates(conn, site.project_id, [SECOND])
        task = asyncio.create_task(report())
        await until_waiting(worker_db)
    await task
