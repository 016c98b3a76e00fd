"""Amount due is shown at the lane: plate and amount, after a part the rest; paid, the barrier opens."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.parking import service as parking
from gateway.contract.messages import Action
from simulators.barrier.lane import Lane
from tests.acceptance.system import PASSWORDS, running_system, system_rows, until
from tests.acceptance.test_from_barrier_to_fee import (
    SITE,
    amount_due,
    is_set,
    lane,
    online,
    second_after,
    set_up,
    the_session,
)

PLATE = "京A12345"


@pytest.mark.slow
async def test_a_driver_reads_what_he_owes_then_the_rest_and_leaves_when_it_is_paid(
    tmp_path: Path, owner_dsn: str, worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BARRIER_PASSWORD", PASSWORDS["barriers"])
    project_id = await set_up(worker_db)
    async with worker_db.transaction(SYSTEM) as conn:
        await parking.set_money_policy(conn, project_id, parking.MoneyPolicy(), public=True)
    barrier = {**SITE["barriers"][0], "duplicate_s": 0}  # it comes again at once
    with running_system(tmp_path, owner_dsn, {"health_period_s": 1, "barriers": [barrier]}) as system:
        system.start_ingest()
        system.start_gateway()
        async with lane(system, "IN") as entry, lane(system, "OUT") as exit_:
            await online(worker_db, project_id)
            await until(can_show(worker_db), "the gateway says that its exit shows what is due")
            owed = await leave_without_paying(worker_db, entry, exit_, project_id)

            coming = await entry.arrive(PLATE)
            await until(is_set(coming.left), "the entry opens")
            inside = await the_session(worker_db, project_id, "open")
            await until(second_after(inside.entered_at), "time that costs something passes")
            going = await exit_.arrive(PLATE)
            await until(reads(exit_, "10.00"), "the driver reads what is due, with his debt")
            shown = exit_.display
            assert shown is not None
            assert (shown.plate, shown.currency, shown.minutes) == (PLATE, "CNY", 0)
            assert "10.00" in shown.text

            due = await amount_due(worker_db, inside.id)
            async with worker_db.transaction(SYSTEM) as conn:
                await parking.pay(conn, inside.id, due, "cash", "cashier")
            await until(reads(exit_, "5.00"), "after the stay is paid he reads the rest")
            assert not going.left.is_set()

            async with worker_db.transaction(SYSTEM) as conn:
                await parking.pay(conn, owed, Decimal("5.00"), "cash", "cashier")
                await parking.let_out_waiting(conn, project_id, datetime.now(UTC))
            await until(is_set(going.left), "it opens")
            assert exit_.display is None
            await until(all_done(worker_db), "the gateway reports both as shown")
        system.stop("gateway")
        system.stop("ingest")


async def leave_without_paying(db: Database, entry: Lane, exit_: Lane, project_id: int) -> int:
    """It follows another vehicle out and owes 5.00; the stay."""
    coming = await entry.arrive(PLATE)
    await until(is_set(coming.left), "the entry opens")
    inside = await the_session(db, project_id, "open")
    await until(second_after(inside.entered_at), "time that costs something passes")
    await exit_.arrive(PLATE)
    await until(reads(exit_, "5.00"), "the driver reads what is due")
    await exit_.drive_through()
    return (await the_session(db, project_id, "closed")).id


def reads(at: Lane, amount: str) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        return at.display is not None and at.display.amount == amount

    return check


def can_show(db: Database) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        async with db.transaction(SYSTEM) as conn:
            (gateway,) = (await devices.list_gateways(conn, PageRequest(1))).items
        return Action.SHOW_DUE in devices.actions_told(gateway).get("lane-out", ())

    return check


def all_done(db: Database) -> Callable[[], Awaitable[bool]]:
    async def check() -> bool:
        states = await system_rows(db, "SELECT state FROM command WHERE action = 'show-due'")
        return [row["state"] for row in states] == ["done"] * 3

    return check
