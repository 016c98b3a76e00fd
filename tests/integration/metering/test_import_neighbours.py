"""What is stored around rows is the same, whether whole stretches are read or each row is looked up."""

import random
from datetime import UTC, datetime

import numpy as np
import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.metering.imports import neighbours as import_neighbours
from cloud.metering.imports.judging import Stored
from cloud.metering.imports.neighbours import stored_around
from cloud.metering.readings.backfill import HistoryColumns, store_history
from cloud.metering.readings.neighbours import Neighbour
from tests.integration.metering.site import HOUR_MS, START_MS, Site, make_site

Key = tuple[int, int, int]


async def fill(db: Database, site: Site, chance: random.Random) -> tuple[dict[Key, int], dict[Key, int]]:
    """Some readings, of which some do not count or count with another value: as stored, and as they count."""
    keys = sorted({(chance.choice(site.meters[:2]), 1, START_MS + chance.randrange(60) * HOUR_MS) for _ in range(50)})
    stored = {key: chance.randrange(1_000) for key in keys}
    counts = dict(stored)
    meters, channels, times = (np.array(column, np.int64) for column in zip(*keys, strict=True))
    columns = HistoryColumns(
        site.project_id,
        meters,
        channels,
        times,
        np.array(list(stored.values()), np.int64),
        np.zeros(len(keys), np.int64),
    )
    async with db.transaction(SYSTEM) as conn:
        await store_history(conn, columns)
        for key in keys:
            fate = chance.choice(("", "", "ignore", "set", "refused", "use"))
            meter_id, channel, ms = key
            taken_at = datetime.fromtimestamp(ms / 1000, UTC)
            if fate in ("refused", "use"):
                await conn.execute(
                    "INSERT INTO store.refused_reading VALUES (%s, %s, %s, 2)", (meter_id, channel, taken_at)
                )
            if fate in ("ignore", "set", "use"):
                value = 5_000 if fate == "set" else None
                await conn.execute(
                    """INSERT INTO reading_edit (project_id, meter_id, channel, taken_at, version, action, value,
                                                 reason, actor)
                       VALUES (%s, %s, %s, %s, 1, %s, %s, 'x', 'x')""",
                    (site.project_id, meter_id, channel, taken_at, fate, value),
                )
            if fate in ("ignore", "refused"):
                del counts[key]
            elif fate == "set":
                counts[key] = 5_000
    return stored, counts


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_both_ways_find_what_a_simple_search_finds(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    chance = random.Random(seed)
    site = await make_site(worker_db)
    stored, counts = await fill(worker_db, site, chance)
    exchanged = START_MS + 30 * HOUR_MS
    wanted = {}
    for _ in range(60):
        ms = START_MS + chance.randrange(-5, 65) * HOUR_MS + chance.choice((0, 0, 7))
        within = (START_MS - 9 * HOUR_MS, exchanged) if ms < exchanged else (exchanged, 2**42)
        wanted[chance.choice(site.meters), 1, ms] = within

    def expected(key: Key) -> Stored:
        meter_id, channel, ms = key
        since, until = wanted[key]
        mine = {at: value for (meter, of, at), value in counts.items() if (meter, of) == (meter_id, channel)}
        before = max((at for at in mine if since <= at < ms), default=None)
        after = min((at for at in mine if ms < at < until), default=None)
        return Stored(
            stored.get(key),
            None if before is None else Neighbour(before, mine[before]),
            None if after is None else Neighbour(after, mine[after]),
        )

    for close, some in ((4, 100), (0, 5), (0, 0)):
        monkeypatch.setattr(import_neighbours, "_CLOSE", close)
        monkeypatch.setattr(import_neighbours, "_SOME", some)
        async with worker_db.transaction(SYSTEM) as conn:
            assert await stored_around(conn, wanted) == {key: expected(key) for key in wanted}


async def test_of_nothing_nothing_is_known(worker_db: Database) -> None:
    async with worker_db.transaction(SYSTEM) as conn:
        assert await stored_around(conn, {}) == {}
