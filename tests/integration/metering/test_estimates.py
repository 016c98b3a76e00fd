"""What a bill that cannot wait is told of usage: parts and periods add up, what is in doubt does not count."""

from datetime import date, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import Any

import pytest

from cloud.kit.db import SYSTEM, Conn, Database
from cloud.metering.periods import estimates
from cloud.metering.periods.estimates import Asked, estimated_usage, estimated_usages
from cloud.metering.records import Meter
from cloud.metering.service import get_meter
from tests.integration.app import People
from tests.integration.metering.house import local, make_house, use


async def test_parts_add_up_and_so_do_successive_periods(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project())
        first = local(house, date(2026, 3, 1))
        # Forty days of known use, then silence.
        await use(conn, house, house.master, first, [100 + n % 24 for n in range(40 * 24)])
        meter = await get_meter(conn, house.master)
        days = [first + timedelta(days=n) for n in (0, 31, 61, 92)]
        edges = [first + timedelta(hours=n * 7) for n in range(1, 92 * 24 // 7)]
        whole = await estimated_usage(conn, meter, 1, days[0], days[-1], edges=edges)
        assert len(whole.parts) == len(edges) + 1
        assert sum(whole.parts) == whole.quantity == whole.measured + whole.estimated
        assert whole.measured == sum(100 + n % 24 for n in range(40 * 24))
        assert (whole.open_s, whole.estimated_s, whole.method) == (52 * 86_400, 52 * 86_400, 4)
        months = [await estimated_usage(conn, meter, 1, at, end) for at, end in pairwise(days)]
        assert sum(one.quantity for one in months) == whole.quantity
        # Months after the last reading still know what was used before it.
        assert months[2].method == 4


async def test_what_is_in_doubt_is_estimated_after_what_is_not(worker_db: Database, people: People) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project())
        first = local(house, date(2026, 3, 1))
        await use(conn, house, house.master, first, [100] * 28 * 24 + [9_000] * 24 + [100] * 48)
        meter = await get_meter(conn, house.master)
        at, end = first + timedelta(days=28), first + timedelta(days=29)
        believed = await estimated_usage(conn, meter, 1, first, first + timedelta(days=31))
        assert (believed.quantity, believed.open_s) == (30 * 2_400 + 24 * 9_000, 0)
        doubted = await estimated_usage(conn, meter, 1, first, first + timedelta(days=31), doubted=[(at, end)])
        assert (doubted.quantity, doubted.estimated, doubted.open_s) == (31 * 2_400, 2_400, 86_400)
        # A doubt about one reading is one about the rows on both sides of it.
        one = await estimated_usage(conn, meter, 1, at, end, doubted=[(at + timedelta(hours=3),) * 2])
        assert (one.open_s, one.method) == (2 * 3600, 3)


@pytest.mark.parametrize("seed", range(3))
async def test_many_at_once_are_what_each_is_alone(
    worker_db: Database, people: People, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Meters with holes of any length, before, within and after what is asked for, some of it in doubt."""
    random = Random(seed)
    async with worker_db.transaction(SYSTEM) as conn:
        house = await make_house(conn, await people.project())
        first = local(house, date(2026, 3, 1))
        for meter_id in (house.master, *house.subs):
            at = first + timedelta(hours=random.randrange(48))
            for _ in range(random.randrange(4)):
                hours = [random.randrange(500) for _ in range(random.randrange(1, 400))]
                await use(conn, house, meter_id, at, hours)
                at += timedelta(hours=len(hours) + random.choice([0, 1, 5, 100]))
        meters = [await get_meter(conn, one) for one in (house.master, *house.subs)]
        asked = [_some(random, meter, first) for meter in meters for _ in range(4)]
        alone = [(await estimated_usages(conn, [one]))[0] for one in asked]
        monkeypatch.setattr(estimates, "_AT_ONCE", 10)
        statements = await _statements(conn, monkeypatch, asked[:1]), await _statements(conn, monkeypatch, asked[:10])
        assert await estimated_usages(conn, asked) == alone
    assert max(statements) <= 6
    assert len({one.method for one in alone}) > 1


def _some(random: Random, meter: Meter, first: datetime) -> Asked:
    start = first + timedelta(days=random.randrange(20))
    end = start + timedelta(days=random.randrange(1, 40))
    doubt = start + timedelta(hours=random.randrange(100))
    return Asked(
        meter,
        1,
        start,
        end,
        edges=tuple(start + timedelta(hours=n) for n in (5, 11)),
        doubted=((doubt, doubt + timedelta(hours=random.randrange(50))),) if random.random() < 0.5 else (),
    )


async def _statements(conn: Conn, monkeypatch: pytest.MonkeyPatch, asked: list[Asked]) -> int:
    """How many statements it takes."""
    count, execute = 0, conn.execute

    async def counted(*of: Any, **more: Any) -> Any:
        nonlocal count
        count += 1
        return await execute(*of, **more)

    with monkeypatch.context() as patch:
        patch.setattr(conn, "execute", counted)
        await estimated_usages(conn, asked)
    return count
