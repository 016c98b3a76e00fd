"""Rules that compare usage with readings: V10 under load, V14 against the register, V13, V2, V3 of the unit."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from cloud.devices import service as devices
from cloud.devices.records import InboxFilter
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.kit.periods import in_ms
from cloud.metering import jobs
from cloud.metering.checks import settling
from cloud.metering.readings.backfill import HistoryColumns, store_history
from cloud.metering.thresholds import changes as threshold_changes
from cloud.metering.thresholds import overrides as threshold_overrides
from gateway.contract.messages import Point
from tests.integration.metering.site import CHANNEL, HOUR_MS, START_MS, Site, hourly, make_site, message, now_ms
from tests.integration.metering.test_derivation import derive, store
from tests.integration.metering.test_settling import _QUIET, DAY_ONE, HOUR, found, put, settle
from tests.integration.metering.test_standing import DAY, judge

POWER = 30
STILL_DAY = [*_QUIET[:10], 0, 0, 0, *_QUIET[13:]]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def read(db: Database, site: Site, channel: int, values: dict[datetime, int], meter: int = 0) -> None:
    """Readings as ingest leaves them, without a note for the derivation."""
    async with db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, %s, %s, %s, %s)
               ON CONFLICT (meter_id, channel, taken_at) DO UPDATE SET value = excluded.value""",
            [(site.meters[meter], channel, at, value, site.project_id) for at, value in values.items()],
        )


async def register(db: Database, **said: object) -> None:
    async with db.transaction(SYSTEM) as conn:
        for name, value in said.items():
            await conn.execute(f"UPDATE meter_register SET {name} = %s".encode(), (value,))


async def say(db: Database, site: Site, settings: dict[str, Any]) -> None:
    async with db.transaction(SYSTEM) as conn:
        await threshold_overrides.set_of_meter(conn, site.meters[0], settings)


@pytest.mark.parametrize(
    ("powers", "said", "settings", "told"),
    [
        ((100, 100, 100), {}, {}, (100, 100)),
        ((100, 99, 100), {}, {}, None),
        ((100, None, 100), {}, {}, None),
        ((100, 250, 100), {}, {"frozen_load": 101}, None),
        ((10, 10, 11), {"multiplier": 10}, {}, (110, 100)),
        ((10, 9, 11), {"multiplier": 10}, {}, None),
        # One step of 200 Wh in an hour takes 200 W.
        ((200, 200, 200), {"resolution": 200}, {}, (200, 200)),
        ((200, 199, 200), {"resolution": 200}, {}, None),
        ((-500, -500, -500), {}, {"frozen_load": 0}, None),
        ((100, 100, 100), {}, {"frozen_intervals": 4}, None),
        ((100, 100, 100), {}, {"rules": {"frozen": "off"}}, None),
    ],
)
async def test_v10_a_register_that_stands_still_under_load(
    worker_db: Database, site: Site, powers: Sequence[int | None], said: dict[str, object], settings: dict[str, Any],
    told: tuple[int, int] | None,
) -> None:  # fmt: skip
    await register(worker_db, **said)
    await say(worker_db, site, settings)
    at = {DAY_ONE + (10 + n) * HOUR: power for n, power in enumerate(powers) if power is not None}
    # In an hour the smallest of its values counts, and those of the hours around do not.
    more = {one + 5 * HOUR / 60: power + 7 for one, power in at.items() if power > 0 and power != max(at.values())}
    await read(worker_db, site, POWER, {**at, **more, DAY_ONE + 9 * HOUR: 5_000, DAY_ONE + 13 * HOUR: 5_000})
    await put(worker_db, site, STILL_DAY)
    assert await settle(worker_db) == (1 if told else 0)
    assert await found(worker_db) == ([("frozen", POWER, 0, told[0], "open")] if told else [])
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT expected FROM meter_exception")).fetchall()
    assert [row["expected"] for row in rows] == ([told[1]] if told else [])
    await put(worker_db, site, STILL_DAY)
    assert await settle(worker_db) == 0


async def come_late(db: Database, site: Site, channel: int, values: dict[datetime, int]) -> None:
    """Readings as ingest stores them."""
    columns = (
        np.array(column, np.int64)
        for column in zip(
            *((site.meters[0], channel, in_ms(at), value, 0) for at, value in values.items()), strict=True
        )
    )
    async with db.transaction(SYSTEM) as conn:
        await store_history(conn, HistoryColumns(site.project_id, *columns))


async def test_v10_power_that_comes_after_its_day_was_judged_is_judged_with_the_next_settling(
    worker_db: Database, site: Site
) -> None:
    await put(worker_db, site, STILL_DAY)
    assert await settle(worker_db) == 0
    await come_late(worker_db, site, POWER, {DAY_ONE + (10 + n) * HOUR: 100 for n in range(3)})
    assert await settle(worker_db) == 1
    assert await found(worker_db) == [("frozen", POWER, 0, 100, "open")]
    await come_late(worker_db, site, POWER, {DAY_ONE + 11.5 * HOUR: 99})
    assert await settle(worker_db) == 1
    assert await found(worker_db) == []


async def test_v10_power_of_a_day_that_is_not_over_waits_for_nothing(worker_db: Database, site: Site) -> None:
    await come_late(worker_db, site, POWER, {datetime.now(UTC) + timedelta(days=1): 100})
    async with worker_db.transaction(SYSTEM) as conn:
        assert await settling.changed_meters(conn, 0, 100) == []


async def test_v10_both_halves_on_one_day_go_with_what_they_were_about(worker_db: Database, site: Site) -> None:
    day = [*STILL_DAY[:20], 300, 300, 300, 301]
    await read(worker_db, site, POWER, {DAY_ONE + n * HOUR: 1_000 for n in range(24)})
    await put(worker_db, site, day)
    await settle(worker_db)
    assert [one[:2] for one in await found(worker_db)] == [("frozen", 1), ("frozen", POWER)]
    await put(worker_db, site, [*day[:11], 1, *day[12:]])
    await settle(worker_db)
    assert [one[:2] for one in await found(worker_db)] == [("frozen", 1)]


@pytest.mark.parametrize(
    ("off_by", "said", "told"),
    [
        (2, {}, False), (-2, {}, False), (3, {}, True), (-3, {}, True),
        (60, {"multiplier": 10, "resolution": 3}, False), (61, {"multiplier": 10, "resolution": 3}, True),
    ],
)  # fmt: skip
async def test_v14_intervals_against_the_register(
    worker_db: Database, site: Site, off_by: int, said: dict[str, object], told: bool
) -> None:
    multiplier = int(str(said.get("multiplier", 1)))
    await register(worker_db, **said)
    advance = sum(_QUIET) // 10 * 10
    # The first reading within five minutes is the one at the edge of the day, whatever comes after it.
    ends = {DAY_ONE + 30 * HOUR / 3600: 5_000, DAY_ONE + 2 * HOUR / 60: 9_999}
    closing = 5_000 + advance // multiplier
    await read(worker_db, site, 1, {**ends, DAY_ONE + 24 * HOUR: closing, DAY_ONE + 24.01 * HOUR: 10**8})
    usage = [*_QUIET[:-1], advance - sum(_QUIET[:-1]) + off_by]
    await put(worker_db, site, usage)
    await settle(worker_db)
    expected = [("register-sum", 1, 0, advance + off_by, "open")] if told else []
    assert await found(worker_db) == expected
    await put(worker_db, site, usage)
    assert await settle(worker_db) == 0
    await put(worker_db, site, [*usage[:-1], usage[-1] - off_by])
    await settle(worker_db)
    assert await found(worker_db) == []


async def test_v14_waits_for_what_is_not_derived_yet(worker_db: Database, site: Site) -> None:
    await read(worker_db, site, 1, {DAY_ONE: 0, DAY_ONE + 24 * HOUR: sum(_QUIET) + 9})
    waiting = """INSERT INTO store.dirty_window (meter_id, channel, project_id, from_at, until_at)
                 VALUES (%s, 1, %s, %s, %s)"""
    values = (site.meters[0], site.project_id, DAY_ONE + 24 * HOUR, DAY_ONE + 24 * HOUR)
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(waiting, values)
    await put(worker_db, site, _QUIET)
    assert await settle(worker_db) == 0
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("DELETE FROM store.dirty_window")
    await put(worker_db, site, _QUIET)
    assert await settle(worker_db) == 1
    # Neither raised nor cleared while a reading waits.
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(waiting, values)
    await put(worker_db, site, _QUIET)
    assert await settle(worker_db) == 0
    assert [one[0] for one in await found(worker_db)] == ["register-sum"]


async def test_v14_holds_over_rollovers_exchanges_and_multipliers(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    """Derived usage always agrees with its register; a row that is touched behind its back does not."""
    first = (DAY_ONE.timestamp() * 1000 - START_MS) / HOUR_MS
    top = 10**9
    values = [(top - 5_000 + 700 * n) % top for n in range(25)]
    await store(ingest_db, hourly("m1", int(first), values))
    await store(ingest_db, hourly("m2", int(first), [700 * n for n in range(11)]))
    await store(ingest_db, hourly("m2", int(first) + 12, [50 + 700 * n for n in range(13)]))
    at = DAY_ONE + 11 * HOUR
    async with worker_db.transaction(SYSTEM) as conn:
        meter = site.meters[1]
        await conn.execute(
            "UPDATE meter_register SET valid = tstzrange(lower(valid), %s) WHERE meter_id = %s", (at, meter)
        )
        await conn.execute(
            """INSERT INTO meter_register (project_id, meter_id, valid, reason, multiplier, modulus, max_per_hour)
               VALUES (%s, %s, tstzrange(%s, NULL), 'exchanged', 2, 1000000000, 60000)""",
            (site.project_id, meter, at),
        )
        await conn.execute(
            """INSERT INTO register_end (register_id, channel, project_id, opening, closing)
               SELECT id, 1, project_id, CASE WHEN reason = 'exchanged' THEN 13 END,
                      CASE WHEN reason = 'installed' THEN 7350 END FROM meter_register WHERE meter_id = %s""",
            (meter,),
        )
    await derive(worker_db)
    await settle(worker_db)
    assert [one for one in await found(worker_db) if one[0] == "register-sum"] == []
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE store.usage SET quantity = quantity + 5 WHERE start = %s", (at,))
        rows = await (
            await conn.execute("SELECT sum(quantity)::bigint AS n FROM store.usage GROUP BY meter_id")
        ).fetchall()
        await conn.execute(
            """INSERT INTO store.changed_usage (meter_id, channel, project_id, from_at, until_at)
               SELECT id, 1, project_id, %s, %s FROM meter""",
            (at, at + HOUR),
        )
    await settle(worker_db)
    told = [one[3] for one in await found(worker_db) if one[0] == "register-sum"]
    # The bound of the second is twice as wide: 2 · 2 Wh.
    assert sorted(told) == sorted(row["n"] for row in rows) == [24 * 700 + 5, 7_350 + 2 * (50 + 8_400 - 13) + 5]


@pytest.mark.parametrize(("off_by", "told"), [(2, False), (3, True)])
async def test_v14_registers_of_the_periods(worker_db: Database, site: Site, off_by: int, told: bool) -> None:
    await put(worker_db, site, _QUIET)
    await put(worker_db, site, [hour if n < 12 else 0 for n, hour in enumerate(_QUIET)], channel=3)
    parts = [hour if n >= 12 else 0 for n, hour in enumerate(_QUIET)]
    await put(worker_db, site, [*parts[:-1], parts[-1] - off_by], channel=5)
    await settle(worker_db)
    assert await found(worker_db) == ([("register-sum", 1, 0, sum(_QUIET) - off_by, "open")] if told else [])
    # What only the total's own register says of the same day goes before it, and is not taken for it when it goes.
    await read(worker_db, site, 1, {DAY_ONE: 0, DAY_ONE + 24 * HOUR: sum(_QUIET) - 50})
    await put(worker_db, site, _QUIET)
    await settle(worker_db)
    assert await found(worker_db) == [("register-sum", 1, 0, sum(_QUIET), "open")]
    await read(worker_db, site, 1, {DAY_ONE + 24 * HOUR: sum(_QUIET)})
    await put(worker_db, site, _QUIET)
    await settle(worker_db)
    assert await found(worker_db) == ([("register-sum", 1, 0, sum(_QUIET) - off_by, "open")] if told else [])


async def test_v13_values_below_zero_are_readings_of_a_bidirectional_meter(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    async def told() -> tuple[list[str], int]:
        await derive(worker_db)
        async with worker_db.transaction(SYSTEM) as conn:
            row = await (
                await conn.execute("SELECT coalesce(sum(quantity), 0)::bigint AS n FROM store.usage")
            ).fetchone()
        assert row is not None
        return [one[0] for one in await found(worker_db) if one[0] != "gap"], row["n"]

    async def changed() -> None:
        async with worker_db.transaction(SYSTEM) as conn:
            row = await (
                await conn.execute(
                    "DELETE FROM job WHERE kind = %s RETURNING payload", (threshold_changes.DERIVE_AGAIN,)
                )
            ).fetchone()
        assert row is not None
        await jobs.HANDLERS[threshold_changes.DERIVE_AGAIN](JobContext(1, site.project_id, row["payload"], worker_db))

    await store(ingest_db, hourly("m1", 0, [-1_000, -400, 0, 500]))
    assert await told() == (["negative", "negative"], 500)
    await say(worker_db, site, {"bidirectional": True})
    await changed()
    assert await told() == ([], 1_500)
    await say(worker_db, site, {})
    await changed()
    assert await told() == (["negative", "negative"], 500)


async def test_v2_how_far_a_clock_may_be_ahead(worker_db: Database, ingest_db: Database, site: Site) -> None:
    await say(worker_db, site, {"clock_ahead_s": 3_600})
    at = now_ms()
    # An hour less or more by what the test may take; the second meter has the usual five minutes.
    points = [
        Point("m1", CHANNEL, at + 3_500_000, 1), Point("m1", CHANNEL, at + 3_700_000, 2),
        Point("m2", CHANNEL, at + 200_000, 3), Point("m2", CHANNEL, at + 400_000, 4),
        Point("spare", CHANNEL, at + 400_000, 5),
    ]  # fmt: skip
    await Writer(ingest_db).store([message(1, points)])
    async with worker_db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT value FROM store.reading ORDER BY value")).fetchall()
        waiting = (await devices.list_unclaimed(conn, PageRequest(), InboxFilter(project_id=site.project_id))).items
    assert [row["value"] for row in rows] == [1, 3]
    assert {(one.device_code, one.reason) for one in waiting} == {(name, "clock") for name in ("m1", "m2", "spare")}


@pytest.mark.parametrize("weight", ["on", "info", "off"])
async def test_rules_of_ingest_and_derivation_that_are_off_tell_nothing(
    worker_db: Database, ingest_db: Database, site: Site, weight: str
) -> None:
    rules = ("duplicate", "backward", "maximum", "negative", "gap")
    await say(worker_db, site, {"rules": dict.fromkeys(rules, weight)})
    values = [1_000, 1_100, 500, 10**8, 1_200, 1_300]
    await store(ingest_db, [*hourly("m1", 0, values), *hourly("m1", 9, [1_400, -5])])
    await store(ingest_db, hourly("m1", 0, [1_001]))
    await derive(worker_db)
    told = {one[0] for one in await found(worker_db)}
    assert told == (set() if weight == "off" else set(rules))


async def test_an_estimate_takes_the_shape_that_the_meter_is_said_to_have(
    worker_db: Database, ingest_db: Database, site: Site
) -> None:
    async def shape(meter: int) -> list[int]:
        await derive(worker_db)
        async with worker_db.transaction(SYSTEM) as conn:
            rows = await (
                await conn.execute(
                    "SELECT quantity FROM store.usage WHERE meter_id = %s AND method = 6 ORDER BY start",
                    (site.meters[meter],),
                )
            ).fetchall()
        return [row["quantity"] for row in rows]

    async def run_changes() -> None:
        async with worker_db.transaction(SYSTEM) as conn:
            rows = await (
                await conn.execute(
                    "DELETE FROM job WHERE kind = %s RETURNING payload", (threshold_changes.DERIVE_AGAIN,)
                )
            ).fetchall()
        for row in rows:
            await threshold_changes.derive_again(JobContext(1, site.project_id, row["payload"], worker_db))

    # Nine in the morning to nine in the evening of a Thursday in Shanghai.
    noon = [0] * 12 + [1] + [0] * 11
    for device in ("m1", "m2"):
        await store(ingest_db, [*hourly(device, 1, [0]), *hourly(device, 13, [12_000])])
    usual = await shape(0)
    assert sum(usual) == 12_000
    assert usual == await shape(1)
    async with worker_db.transaction(SYSTEM) as conn:
        await threshold_overrides.set_of_class(
            conn, site.project_id, "electricity-residential", {"profile": noon, "rest_profile": noon}
        )
    await say(worker_db, site, {"profile": [1] * 24, "rest_profile": [1] * 24})
    await run_changes()
    assert await shape(0) == [1_000] * 12
    assert await shape(1) == [0, 0, 0, 12_000, *[0] * 8]
    await say(worker_db, site, {"zero_days": 3})
    await run_changes()
    assert await shape(0) == [0, 0, 0, 12_000, *[0] * 8]


@pytest.mark.parametrize(
    ("channels", "foreign"),
    [((70,), [70]), ((70, 72), [70, 72]), ((1, 70), []), ((7,), []), ((8,), [8]), ((30,), []), ((), [])],
)
async def test_v3_a_meter_that_is_read_of_something_else(
    worker_db: Database, channels: Sequence[int], foreign: list[int]
) -> None:
    site = await make_site(worker_db, meters=1)
    for channel in channels:
        await read(worker_db, site, channel, {DAY + HOUR: 5, DAY - timedelta(days=1): 4})
    await judge(worker_db, site)
    assert [(one[0], one[1]) for one in await found(worker_db) if one[0] == "configuration"] == [
        ("configuration", channel) for channel in foreign
    ]
    await read(worker_db, site, 1, {DAY + HOUR: 5})
    await judge(worker_db, site)
    assert "configuration" not in [one[0] for one in await found(worker_db)]
