"""The jobs of prepaid supply: everything is valued and moved, and one case that fails keeps no other from moving."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.prepaid import cases, jobs, switching
from gateway.contract.messages import Action, DeviceHealth, Health
from tests.integration.prepaid.home import Home, make_home
from tests.worlds import World, world


@world
async def home_world(db: Database) -> Home:
    return await make_home(db)


@pytest.fixture
def home(home_world: World[Home], worker_db: Database) -> Home:
    """That world, which only this test changes."""
    return home_world.of(worker_db)


def context(home: Home, kind: str) -> JobContext:
    return JobContext(1, None, {"kind": kind}, home.db, 1)


async def test_the_hourly_job_values_and_opens_cases(home: Home) -> None:
    done = await jobs.value(context(home, jobs.VALUE_JOB))
    assert (done["accounts"], done["opened"], done["cases"], done["failed"]) == (1, 1, 1, 0)
    again = await jobs.value(context(home, jobs.VALUE_JOB))
    assert (again["opened"], again["cases"]) == (0, 1)
    assert (await home.case()).hold == "too-early"


async def test_a_case_that_cannot_be_moved_is_told_and_passed_over(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    case = await home.brought_to_order()
    await home.reports(case.cut_id, "done")

    async def refuse(*_: Any, **__: Any) -> None:
        raise Conflict("busy", "not now")

    with monkeypatch.context() as patched:
        patched.setattr(cases, "advance", refuse)
        assert (await jobs.switch(context(home, jobs.SWITCH_JOB)))["failed"] == 1
    assert (await jobs.switch(context(home, jobs.SWITCH_JOB)))["cases"] == 1
    assert (await home.case()).state == "off"
    await home.pay("500.00")
    await home.reports((await home.case()).restore_id, "failed")
    assert (await jobs.switch(context(home, jobs.SWITCH_JOB)))["not_restored"] == 1


async def test_a_payment_is_taken_even_when_its_case_cannot_be_moved(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = await home.brought_to_order()
    await home.reports(case.cut_id, "done")

    async def refuse(conn: Conn, *_: Any, **__: Any) -> None:
        await conn.execute("SELECT 1 / 0")

    with monkeypatch.context() as patched:
        patched.setattr(cases, "advance", refuse)
        await home.pay("500.00")
    assert len(await home.site.rows("SELECT 1 FROM payment")) == 1
    assert (await home.case()).state == "ordered"
    await jobs.switch(context(home, jobs.SWITCH_JOB))
    assert (await home.case()).state == "reconnecting"


async def test_a_valve_is_closed_and_opened_as_a_relay_is(home: Home) -> None:
    now = datetime.now(UTC)
    valve = DeviceHealth("e-1", 0, 1, 0, 0, 0, 0, ("read-now", "close-valve", "open-valve"))
    from_now = int(now.timestamp() * 1000)
    meter_id = home.flat.meters["electricity"]
    async with home.db.transaction(SYSTEM) as conn:
        await devices.apply_health(conn, home.gateway_id, Health(from_now, "0", 1, 0, 0, 0, 0, (valve,)))
        found = await switching.relay_of(conn, meter_id, now)
        assert found is not None
        assert (found.device_id, found.off) == (home.device_id, Action.CLOSE_VALVE)
        # Half a pair is nothing: what cannot be opened again is not closed.
        half = DeviceHealth("e-1", 0, 1, 0, 0, 0, 0, ("close-valve", "switch-off"))
        await devices.apply_health(conn, home.gateway_id, Health(from_now, "0", 1, 0, 0, 0, 0, (half,)))
        assert await switching.relay_of(conn, meter_id, now) is None
        assert await switching.relay_of(conn, None, now) is None
        assert await switching.relay_of(conn, meter_id, now - timedelta(days=400)) is None
