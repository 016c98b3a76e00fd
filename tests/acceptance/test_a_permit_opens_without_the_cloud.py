"""A car with a permit goes in while the cloud is away; an expired permit, or the second car of a space, does not."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.parking.permits import service
from cloud.parking.permits.records import Holding, NewPermit
from tests.acceptance.system import PASSWORDS, running_system, system_rows, until
from tests.acceptance.test_from_barrier_to_fee import SITE, is_set, lane, online, set_up

OWNER, EXPIRED, STRANGER = "京A12345", "沪C33333", "苏D44444"
FIRST, SECOND, THIRD = "粤B11111", "粤B22222", "粤B33333"
"""They share a space."""


@pytest.mark.slow
async def test_permits_hold_at_the_barrier_while_the_cloud_is_away(
    tmp_path: Path, owner_dsn: str, worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARRIER_PASSWORD", PASSWORDS["barriers"])
    project_id = await set_up(worker_db)
    only_permits = {"temporary_allowed": False}
    barrier = SITE["barriers"][0]
    lanes = [{**one, **(only_permits if one["direction"] == "entry" else {})} for one in barrier["lanes"]]
    site: dict[str, Any] = {"health_period_s": 1, "barriers": [{**barrier, "lanes": lanes}]}
    with running_system(tmp_path, owner_dsn, site) as system:
        system.start_ingest()
        system.start_gateway()
        async with lane(system, "IN") as entry, lane(system, "OUT") as exit_:
            await online(worker_db, project_id)
            await permit(worker_db, project_id, OWNER)
            await permit(worker_db, project_id, FIRST, SECOND, THIRD, spaces=1)
            await permit(worker_db, project_id, EXPIRED, days=-1)
            await until(held(worker_db), "the gateway holds what it was told")
            system.kill("ingest")  # nobody in the cloud hears the gateway any more

            for plate in (OWNER, FIRST):
                coming = await entry.arrive(plate)
                await until(is_set(coming.left), f"{plate} goes in by its permit")
            for plate in (SECOND, EXPIRED, STRANGER):  # temporary vehicles, and none may enter here
                await entry.arrive(plate)
                await entry.turn_back()
            leaving = await exit_.arrive(OWNER)
            await until(is_set(leaving.left), "whoever is covered for the whole stay leaves without the cloud")
            leaving = await exit_.arrive(FIRST)
            await until(is_set(leaving.left), "its space is free again")
            coming = await entry.arrive(THIRD)
            await until(is_set(coming.left), "now another car of this space goes in")
            assert len(entry.orders) == 3, "nobody else was let in"

            system.start_ingest()

            async def told() -> bool:
                found = await system_rows(worker_db, "SELECT plate, decision FROM passage WHERE direction = 'entry'")
                decided = {(row["plate"], row["decision"]) for row in found}
                return decided >= {
                    (OWNER, "permit"),
                    (FIRST, "permit"),
                    (SECOND, "no-temporary"),
                    (EXPIRED, "no-temporary"),
                    (STRANGER, "no-temporary"),
                    (THIRD, "permit"),
                }

            await until(told, "the cloud learns what was decided")
        system.stop("gateway")
        system.stop("ingest")


async def permit(db: Database, project_id: int, *plates: str, spaces: int = 0, days: int = 30) -> None:
    """A permit of the lot that ends in so many days."""
    (lot,) = await system_rows(db, "SELECT id FROM parking_lot")
    now = datetime.now(UTC)
    until_ = now + timedelta(days=days)
    new = NewPermit("owner-space", (lot["id"],), now - timedelta(days=9), until_, Holding(plates, note="test"), spaces)
    async with db.transaction(SYSTEM) as conn:
        await service.create_permit(conn, project_id, new)


def held(db: Database) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        (row,) = await system_rows(db, "SELECT number, held FROM gateway_access")
        return bool(row["held"] == row["number"])

    return check
