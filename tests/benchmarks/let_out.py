"""From a vehicle at an exit whose price only the cloud knows until the order to open, with all of the cloud as it is.

A real gateway process with 20 lanes, a real broker, the ingest process and a worker, PostgreSQL that syncs each
commit. Beside it nine gateways with 20 lanes each, which a process plays: together 200 lanes with a vehicle each two
seconds, half of them exits. Every vehicle that leaves has free minutes of a quota of the day, which no gateway is told:
the cloud prices the stay, orders the barrier to open, signs and publishes it. Measured twice: at the camera of the real
gateway, from the recognition to the order, which holds both ways over the barriers' broker and the gateway's own
commits; and at the gateways that are played, from the message of the passage to the command. One of five vehicles at
the exits of those has something to pay: that is measured from the message until the amount is known to the desk that
asks for it, and from the payment to the command. Beside that, in the same seconds, what a message over this broker and
one commit take: no answer of the cloud can take less.
"""

import asyncio
import multiprocessing
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import quantiles
from typing import Any, Final
from uuid import uuid4

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.embedded import EmbeddedPostgres
from cloud.kit.migrate import migrate
from cloud.parking import service as parking
from cloud.parking.fees.models import ParkingRule
from gateway.contract.messages import Outcome, Passage
from tests.acceptance.system import GATEWAY, System, create_project, until
from tests.benchmarks.exits import EVERY_S, PAYING, Plan, Played, Till, camera, gateways, pays, probe
from tests.benchmarks.ingest import fresh_database
from tests.benchmarks.measure import Bound
from tests.integration.parking.past import fill
from tests.integration.parking.told import tell

_OTHERS: Final = int(os.environ.get("GATEMETER_BENCH_LET_OUT_OTHERS", "9"))
_LANES: Final = 20
"""Of each gateway, half of them exits."""
_SECONDS: Final = int(os.environ.get("GATEMETER_BENCH_LET_OUT_S", "40"))
_READY_S: Final = 4.0
_AT_MOST_MS: Final = 150
_AT_ONCE: Final = 200
_RULE: Final = ParkingRule.model_validate({
    "name": "a quota of the day",
    "schedule": {"free_minutes": 600, "free_minutes_per": "day", "unit": {"minutes": 60, "price": "5.00"}},
    "classes": {PAYING: {"unit": {"minutes": 60, "price": "5.00"}}},
    "leave_within_minutes": 15,
})  # fmt: skip


def run() -> list[Bound]:
    """Both ways, and how many times as long as the least that they could take."""
    given = os.environ.get("GATEMETER_TEST_DSN")
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as folder:
        if given is not None:
            return asyncio.run(_measured(Path(folder), fresh_database(given)))
        with EmbeddedPostgres(Path(folder) / "pg") as server:
            return asyncio.run(_measured(Path(folder), server.create_database("bench")))


async def _measured(folder: Path, dsn: str) -> list[Bound]:
    migrate(dsn)
    names = [GATEWAY, *(f"gw-{number}" for number in range(2, _OTHERS + 2))]
    async with Database(dsn, "gatemeter_ingest", max_size=4) as db:
        till = Till(dsn, await _set_up(db, dsn, names))
        os.environ["BARRIER_PASSWORD"] = "barrier-password"
        system = System(folder, dsn, _site(), names[1:])
        try:
            system.broker.start()
            for start in (system.start_ingest, system.start_worker, system.start_gateway):
                start()
            await until(partial(_heard_of, db), "the gateway is heard of")
            plans = [_plan(system.broker.port, name) for name in names]
            played: Played
            real, played, bare = await asyncio.to_thread(
                _apart, (camera, (plans[0],)), (gateways, (plans[1:], till)), (probe, (plans[0], dsn))
            )
        finally:
            system.close()
    what = f"{_LANES * len(names)} lanes × a vehicle each {EVERY_S:g} s"
    floor = _p99(bare)
    return [
        Bound(
            f"at an exit → the cloud prices → order to open at the camera, p99, {what}", _p99(real), "ms", _AT_MOST_MS
        ),
        Bound("the same from the passage told to the command, p99", _p99(played.let_out), "ms", _AT_MOST_MS),
        Bound("the same, half of them", quantiles(played.let_out, n=100)[49], "ms", _AT_MOST_MS),
        Bound(
            "something is due: from the passage told until the amount is known", _p99(played.amounts), "ms", _AT_MOST_MS
        ),
        Bound("from its payment to the command, p99", _p99(played.paid), "ms", _AT_MOST_MS),
        Bound("a bare message over the broker and a bare commit meanwhile, p99", floor, "ms", _AT_MOST_MS),
        Bound("command, p99, by what these take", _p99(played.let_out) / floor, "times", 10),
    ]


def _site() -> dict[str, Any]:
    lanes = [{"device": lane, "sn": lane, "direction": "exit" if out else "entry"} for lane, out in _lanes_of()]
    return {"barriers": [{"name": "garage", "lot": "lot", "prefix": "barriers", "duplicate_s": 0, "lanes": lanes}]}


def _lanes_of() -> Iterator[tuple[str, bool]]:
    for number in range(_LANES):
        yield f"lane-{number}", number % 2 == 1


def _plan(port: int, gateway: str) -> Plan:
    vehicles = round(_SECONDS / EVERY_S)
    lanes = [
        (lane, out, [_plate(gateway, lane, number, out) for number in range(vehicles)]) for lane, out in _lanes_of()
    ]
    return Plan(port, _SECONDS, gateway, lanes)


def _plate(gateway: str, lane: str, number: int, leaves: bool) -> str:
    """Of no vehicle twice, and far from all others: nearly the same plates are compared by what was misread."""
    place = int(gateway.removeprefix("gw-")) * 100 + int(lane.removeprefix("lane-"))
    return f"京{'L' if leaves else 'E'}{(place * 1_000 + number) * 7_919_777 % 10**8:08}"


async def _set_up(db: Database, dsn: str, names: list[str]) -> int:
    """Gives the id of the project."""
    now = datetime.now(UTC)
    async with db.transaction(SYSTEM) as conn:
        project, first = await create_project(conn)
        lot = await parking.create_lot(conn, project.id, "lot", "Lot", 100_000)
        await parking.publish_rule(conn, lot.id, _RULE, (now - timedelta(days=3)).date())
        for name in names:
            own = first if name == GATEWAY else (await devices.create_gateway(conn, project.id, name, name)).id
            for lane, out in _lanes_of():
                device = await devices.create_device(conn, project.id, own, lane, "barrier")
                direction = "exit" if out else "entry"
                await parking.create_lane(conn, lot.id, f"{name}-{lane}", lane, direction, device.id)  # type: ignore[arg-type]
    await asyncio.to_thread(fill, dsn, now - timedelta(days=1))
    came = round((now - timedelta(minutes=20)).timestamp() * 1000)
    for name in names:
        plan = _plan(0, name)
        leaving = [
            (plate, PAYING if name != GATEWAY and pays(plate) else "small")
            for _, out, plates in plan.lanes if out for plate in plates
        ]  # fmt: skip
        for start in range(0, len(leaving), _AT_ONCE):
            told = [
                Passage(str(uuid4()), "lane-0", plate, came, Outcome.PASSED, "entry", kind, decision="temporary")
                for plate, kind in leaving[start : start + _AT_ONCE]
            ]
            async with db.transaction(SYSTEM) as conn:
                await parking.apply_passages(conn, project.id, name, told, now)
    # Gateways of a running system have been told of the vehicles inside when they came, not of thousands in one minute.
    async with Database(dsn, "gatemeter_worker", max_size=2) as worker:
        await tell(worker, project.id, now)
    return project.id


async def _heard_of(db: Database) -> bool:
    async with db.transaction(SYSTEM) as conn:
        row = await (await conn.execute("SELECT count(*) AS heard FROM gateway_state")).fetchone()
    return row is not None and row["heard"] > 0


def _apart(*works: tuple[Callable[..., Any], tuple[object, ...]]) -> list[Any]:
    """Each in a process of its own; vehicles come when all are ready."""
    context = multiprocessing.get_context("spawn")
    ends = [context.Pipe() for _ in works]
    for (_, there), (work, arguments) in zip(ends, works, strict=True):
        context.Process(target=_answering, args=(there, work, arguments), daemon=True).start()
    here = [end for end, _ in ends]
    for end in here:
        end.recv()
    began_at = time.time() + _READY_S
    for end in here:
        end.send(began_at)
    return [end.recv() for end in here]


def _answering(answer: Connection, work: Callable[..., Any], arguments: tuple[object, ...]) -> None:
    def begin() -> float:
        answer.send(None)
        at: float = answer.recv()
        return at

    answer.send(work(*arguments, begin))


def _p99(values: list[float]) -> float:
    return quantiles(values, n=100)[98]
