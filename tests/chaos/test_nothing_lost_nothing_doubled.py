"""Whatever dies, is cut, fills up or steps: every reading is stored once, every passage counted once, every command
executed at most once."""

import random
import time
from pathlib import Path
from typing import Final

import pytest

from cloud.kit.db import SYSTEM
from cloud.parking import service as parking
from tests.acceptance.system import PASSWORDS, chaos_rounds, system_rows, until
from tests.chaos import disasters
from tests.chaos.garage import Garage, garage
from tests.chaos.proof import judge, served_answers, stored_values, told_gaps
from tests.chaos.stage import Stage, chaos_stage, may_mount, stop_in_order

_UNWRITTEN_MS: Final = 3_000
"""What a killed gateway had read so shortly before may not have been on its disk: a batch lingers 0.2 s, and the
machine of the test is busy."""


@pytest.mark.slow
async def test_nothing_is_lost_and_nothing_doubled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARRIER_PASSWORD", PASSWORDS["barriers"])
    chance = random.Random(20_261_125)
    ordered: list[str] = []
    async with chaos_stage(tmp_path) as stage:
        async with garage(stage.system) as gate:
            for number, disaster in enumerate(_sequence(chaos_rounds(3), chance)):
                print(f"{time.strftime('%H:%M:%S')} round {number + 1}: {disaster.__name__}")
                ordered.append(await _order(stage))
                await disaster(stage, chance)
                await stage.works_again()
                await gate.lane.tell_again()
            await gate.rest()
            await gate.lane.tell_again()
            await _everything_is_told(stage, gate)
        await stop_in_order(stage)
        await _readings_are_whole(stage)
        await _passages_are_whole(stage, gate)
        await _commands_ran_at_most_once(stage, gate, ordered)


def _sequence(rounds: int, chance: random.Random) -> list[disasters.Disaster]:
    """Each kind before any kind a second time."""
    kinds = [kind for kind in disasters.ALL if kind is not disasters.fill_disk or may_mount()]
    chosen: list[disasters.Disaster] = []
    while len(chosen) < rounds:
        chosen += chance.sample(kinds, len(kinds))
    return chosen[:rounds]


async def _order(stage: Stage) -> str:
    """Somebody opens the gate by hand, just before it happens."""
    async with stage.db.transaction(SYSTEM) as conn:
        return str(await parking.open_lane(conn, stage.lane_id, "chaos", "test"))


async def _everything_is_told(stage: Stage, gate: Garage) -> None:
    """Orders are at their end, and every vehicle that went through is known."""
    waited_for: list[object] = []

    async def settled() -> bool:
        known = {
            row["plate"] for row in await system_rows(stage.db, "SELECT plate FROM passage WHERE outcome = 'passed'")
        }
        open_orders = await system_rows(
            stage.db, "SELECT id, state FROM command WHERE state NOT IN ('done', 'failed', 'expired', 'uncertain')"
        )
        waited_for[:] = [*(set(gate.lane.passed) - known), *open_orders]
        return not waited_for

    try:
        await until(settled, "passages and results arrive", 90.0)
    except AssertionError as late:
        raise AssertionError(f"{late}: {waited_for}") from None


async def _readings_are_whole(stage: Stage) -> None:
    unwritten = [range(at - _UNWRITTEN_MS, at + 1) for at in stage.killed_at_ms]
    verdict = judge(
        served_answers(stage.served_log), await stored_values(stage.db), unwritten, await told_gaps(stage.db)
    )
    assert verdict.doubled == []
    assert verdict.invented == []
    assert verdict.lost == []
    for table in ("store.reading_revision", "unclaimed_reading", "dead_letter"):
        assert await system_rows(stage.db, f"SELECT * FROM {table} LIMIT 3") == []


async def _passages_are_whole(stage: Stage, gate: Garage) -> None:
    rows = await system_rows(
        stage.db, "SELECT plate, count(*) AS times FROM passage WHERE outcome = 'passed' GROUP BY plate"
    )
    times = {row["plate"]: row["times"] for row in rows if row["plate"]}
    assert gate.lane.passed, "vehicles went through"
    assert times == dict.fromkeys(gate.lane.passed, 1)
    assert await system_rows(stage.db, "SELECT 1 FROM unclaimed_passage") == []


async def _commands_ran_at_most_once(stage: Stage, gate: Garage, ordered: list[str]) -> None:
    received = [order.id for order in gate.lane.orders]
    assert len(received) == len(set(received)), "an order reached the barrier twice"
    rows = await system_rows(stage.db, "SELECT id::text AS id, state FROM command")
    states = {row["id"]: row["state"] for row in rows}
    assert set(states) == set(ordered)
    done = {command for command, state in states.items() if state == "done"}
    assert done <= set(received), "done is only what the barrier was told"
    assert {command for command in ordered if command in received} <= {
        command for command, state in states.items() if state in ("done", "uncertain")
    }, "what the barrier was told is never called failed or expired"
