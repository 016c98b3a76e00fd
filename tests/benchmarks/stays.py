"""Passages into stays, as ingest takes them: 200 lanes with a passage each 2 s without lag, and a morning rush.

A lot with a year of stays behind it; its lanes belong to ten gateways. Each vehicle is told twice, standing and gone
through; half of them leave by an exit lane seconds later. The rush is 10,000 passages in disorder and partly told
twice, whose stays must be right.
"""

import asyncio
import os
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Final
from uuid import UUID

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.migrate import migrate
from cloud.kit.yaml_files import load_yaml
from cloud.parking import service as parking
from cloud.parking.fees.models import ParkingRule
from gateway.contract.messages import Outcome, Passage
from tests.benchmarks.ingest import fresh_database
from tests.benchmarks.measure import Bound
from tests.integration.parking.past import fill

_GATEWAYS: Final = 10
_LANES: Final = 200
_A_SECOND: Final = _LANES / 2
_SECONDS: Final = int(os.environ.get("GATEMETER_BENCH_PARKING_S", "20"))
_RUSH: Final = 10_000
_RULE: Final = Path(__file__).parents[2] / "firmware-config/parking/mall.yaml"
_START: Final = datetime(2026, 5, 1, 0, tzinfo=UTC)


def run() -> list[Bound]:
    """Passages a second, the longest wait at the rate wanted, and the rush."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as folder:
        if given is not None:
            return asyncio.run(_measured(fresh_database(given), fresh_database(given)))
        with EmbeddedPostgres(Path(folder) / "pg") as server:
            return asyncio.run(_measured(server.create_database("lanes"), server.create_database("rush")))


async def _measured(lanes_dsn: str, rush_dsn: str) -> list[Bound]:
    rate, waits = await _lanes(lanes_dsn)
    rush_s = await _rush(rush_dsn)
    return [
        Bound(f"passages into stays, {_LANES} lanes of {_GATEWAYS} gateways", rate, "passages/s", _A_SECOND, True),
        Bound(f"passage until its stay is stored, {_A_SECOND:.0f} a second, p99", quantiles(waits, n=100)[98] * 1000,
              "ms", 500),
        Bound(f"morning rush of {_RUSH:,} passages in disorder", rush_s, "s", _RUSH / _A_SECOND),
    ]  # fmt: skip


async def _set_up(db: Database, gateways: int, lanes: int) -> int:
    async with db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, "bench", "Bench", "Asia/Shanghai", "CNY")
        lot = await parking.create_lot(conn, project.id, "lot", "Lot", 20_000)
        await parking.publish_rule(conn, lot.id, load_yaml(_RULE, ParkingRule), date(2025, 1, 1))
        for number in range(gateways):
            gateway = await devices.create_gateway(conn, project.id, f"gw{number}", "Gate")
            for lane in range(lanes // gateways):
                code = f"lane-{lane}"
                device = await devices.create_device(conn, project.id, gateway.id, code, "barrier")
                direction = "exit" if lane % 2 else "entry"
                await parking.create_lane(conn, lot.id, f"{number}-{lane}", code, direction, device.id)  # type: ignore[arg-type]
    return project.id


def _reports(second: int, chance: Random) -> Iterator[tuple[str, Passage]]:
    """What the lanes tell in one second: half of them see a vehicle, alternately entries and exits."""
    for number in range(second % 2, _LANES, 2):
        gateway, lane = number % _GATEWAYS, number // _GATEWAYS
        leaves = lane % 2 == 1
        vehicle = (second - 4 if leaves else second) * _LANES + number - (_GATEWAYS if leaves else 0)
        at = _START + timedelta(seconds=second)
        arrived = _passage(chance, f"lane-{lane}", f"京{vehicle % 10**6:06}", at, "arrived", leaves)
        yield f"gw{gateway}", arrived
        yield f"gw{gateway}", _passage(chance, f"lane-{lane}", arrived.plate, at, "passed", leaves, arrived.id)


def _passage(
    chance: Random, lane: str, plate: str, at: datetime, outcome: str, leaves: bool, known: str = ""
) -> Passage:
    name = known or str(UUID(int=chance.getrandbits(128), version=4))
    taken = int(at.timestamp() * 1000)
    direction = "exit" if leaves else "entry"
    return Passage(name, lane, plate, taken, Outcome(outcome), direction, decision="temporary")


async def _lanes(dsn: str) -> tuple[float, list[float]]:
    """Passages a second as fast as it goes, and how long each waits when they come at the rate wanted."""
    migrate(dsn)
    async with Database(dsn, "gatemeter_ingest", max_size=4) as db:
        project_id = await _set_up(db, _GATEWAYS, _LANES)
        await asyncio.to_thread(fill, dsn, _START)
        chance = Random(1)
        began = time.perf_counter()
        for second in range(_SECONDS):
            await _taken(db, project_id, list(_reports(second, chance)), second)
        rate = _SECONDS * _A_SECOND / (time.perf_counter() - began)
        waits: list[float] = []
        due = time.perf_counter()
        for second in range(_SECONDS, 2 * _SECONDS):
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            await _taken(db, project_id, list(_reports(second, chance)), second)
            waits += [time.perf_counter() - due] * round(_A_SECOND)
            due += 1
    return rate, waits


async def _taken(db: Database, project_id: int, reports: Sequence[tuple[str, Passage]], second: int) -> None:
    """One transaction, as ingest makes it of what came in within a second from all gateways of a project."""
    batches: dict[str, list[Passage]] = defaultdict(list)
    for gateway, passage in reports:
        batches[gateway].append(passage)
    now = _START + timedelta(seconds=second + 1)
    told = [parking.Told(gateway, passages, now) for gateway, passages in batches.items()]
    async with db.transaction(SYSTEM) as conn:
        await parking.apply_told(conn, project_id, told)


async def _rush(dsn: str) -> float:
    """Seconds for a morning in disorder; raises when a stay or a fee came out wrong."""
    migrate(dsn)
    chance = Random(2)
    told: list[Passage] = []
    for vehicle in range(_RUSH // 2):
        came = _START + timedelta(seconds=chance.randrange(3 * 3600))
        plate = f"沪{vehicle:06}"
        told.append(_passage(chance, "lane-0", plate, came, "passed", False))
        told.append(_passage(chance, "lane-1", plate, came + timedelta(hours=5), "passed", True))
    told += chance.sample(told, _RUSH // 10)
    chance.shuffle(told)
    async with Database(dsn, "gatemeter_ingest", max_size=4) as db:
        project_id = await _set_up(db, 1, 2)
        await asyncio.to_thread(fill, dsn, _START)
        began = time.perf_counter()
        for start in range(0, len(told), 200):
            async with db.transaction(SYSTEM) as conn:
                now = _START + timedelta(days=1)
                await parking.apply_passages(conn, project_id, "gw0", told[start : start + 200], now)
        elapsed = time.perf_counter() - began
        async with db.transaction(SYSTEM) as conn:
            query = """SELECT count(*) AS stays, count(*) FILTER (WHERE state = 'closed' AND fee = 8) AS right_ones
                       FROM parking_session WHERE entered_at >= %s"""
            row = await (await conn.execute(query, (_START,))).fetchone()
    if row != {"stays": _RUSH // 2, "right_ones": _RUSH // 2}:
        raise AssertionError(f"expected {_RUSH // 2} closed stays of 8.00 each, got {row}")
    return elapsed
