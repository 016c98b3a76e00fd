"""A lot with one entry and one exit lane, and the passages that a gateway would report of them."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, LiteralString, get_args
from uuid import UUID

from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Asker, Conn, Database
from cloud.kit.yaml_files import load_yaml
from cloud.parking import service
from cloud.parking.fees.models import ParkingRule
from cloud.parking.records import Applied, Lane
from cloud.parking.stays.matching import Direction
from gateway.contract.messages import Outcome, Passage

MALL = Path(__file__).parents[3] / "firmware-config/parking/mall.yaml"
NOON = datetime(2026, 5, 1, 4, tzinfo=UTC)
"""12:00 in Shanghai."""
GATEWAY = "gw1"


@dataclass
class Site:
    """A project with a lot; every test has its own."""

    project_id: int
    lot_id: int
    entry: Lane
    exit: Lane
    ids: Random = field(default_factory=lambda: Random(7))

    @property
    def staff(self) -> Asker:
        """A member of staff of the project."""
        return Asker("staff", (self.project_id,), user_id=1)

    def passage(
        self, device: str, plate: str, taken_at: datetime, outcome: str = "passed", known: Passage | None = None
    ) -> Passage:
        """A passage at `entry` or `exit`; `known` is an earlier report of the same one."""
        return Passage(
            id=known.id if known else str(UUID(int=self.ids.getrandbits(128), version=4)),
            device=device,
            plate=plate,
            taken_at=int(taken_at.timestamp() * 1000),
            outcome=Outcome(outcome),
            direction="exit" if device == "exit" else "entry",
        )

    async def report(self, db: Database, passages: Sequence[Passage], now: datetime) -> Applied:
        """What ingest does with a batch."""
        async with db.transaction(SYSTEM) as conn:
            return await service.apply_passages(conn, self.project_id, GATEWAY, passages, now)


def where_it_is_morning() -> str:
    """A time zone whose clocks say six now: what lasts some hours ends on the same local day, whenever it runs."""
    offset = 6 - datetime.now(UTC).hour
    return f"Etc/GMT{-(offset if offset >= -12 else offset + 24):+d}"


async def make_site(
    db: Database, *, lanes: bool = True, zone: str = "Asia/Shanghai", rule: ParkingRule | None = None
) -> Site:
    """A project, its gateway with two barriers, a lot priced by the mall's rule unless another is given."""
    rule = rule or load_yaml(MALL, ParkingRule)
    async with db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, "p", "P", zone, rule.currency)
        edge = await devices.create_gateway(conn, project.id, GATEWAY, "Gate")
        lot = await service.create_lot(conn, project.id, "main", "Main lot", 2)
        await service.publish_rule(conn, lot.id, rule, date(2025, 1, 1))
        made: list[Lane] = []
        for code in get_args(Direction):
            device = await devices.create_device(conn, project.id, edge.id, code, "barrier")
            if lanes:
                made.append(await service.create_lane(conn, lot.id, code, code, code, device.id))
            else:
                made.append(Lane(0, project.id, lot.id, code, code, code, device.id))
        return Site(project.id, lot.id, made[0], made[1])


async def rows(db: Database, query: LiteralString, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
    """What the database holds, past the feature's own reading."""
    async with db.transaction(SYSTEM) as conn:
        return await _fetch(conn, query, values)


async def _fetch(conn: Conn, query: LiteralString, values: Sequence[Any]) -> list[dict[str, Any]]:
    return list(await (await conn.execute(query, values)).fetchall())


async def stays(db: Database) -> list[tuple[Any, ...]]:
    """Sessions without their ids, in a fixed order."""
    query: LiteralString = """
        SELECT plate, state, entered_at, left_at, fee, fee_until FROM parking_session
        ORDER BY plate, coalesce(entered_at, left_at), left_at
    """
    return [tuple(row.values()) for row in await rows(db, query)]


async def openings(db: Database) -> list[dict[str, Any]]:
    """Commands to open, oldest first."""
    return await rows(
        db, "SELECT arguments, actor, reason FROM command WHERE action = 'open-barrier' ORDER BY issued_at"
    )


async def until_waiting(db: Database) -> None:
    """Until somebody waits for what another transaction has locked."""
    query: LiteralString = """
        SELECT count(*) AS n FROM pg_locks WHERE NOT granted
        AND coalesce(database, 0) IN (0, (SELECT oid FROM pg_database WHERE datname = current_database()))
    """
    async with asyncio.timeout(60):
        while (await rows(db, query))[0]["n"] == 0:
            await asyncio.sleep(0.01)


def minutes(count: int) -> timedelta:
    """That many minutes."""
    return timedelta(minutes=count)
