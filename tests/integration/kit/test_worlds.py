"""What tests of a file begin with is the same for each, whatever another one made of its copy."""

import time
from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from tests.worlds import World, world


@dataclass
class Place:
    """A database, and the codes of the projects that were made in it."""

    db: Database
    codes: list[str]

    async def build(self, code: str) -> None:
        """One more project."""
        async with self.db.transaction(SYSTEM) as conn:
            await estate.create_project(conn, code, code, "Asia/Shanghai", "CNY")
        self.codes.append(code)


@world
async def place_world(db: Database) -> Place:
    """One project."""
    made = Place(db, [])
    await made.build("one")
    return made


@pytest.fixture
def place(place_world: World[Place], worker_db: Database) -> Place:
    """That world, which only this test changes."""
    return place_world.of(worker_db)


async def _codes(db: Database) -> list[str]:
    async with db.transaction(SYSTEM) as conn:
        rows = await (await conn.execute("SELECT code FROM project ORDER BY id")).fetchall()
    return [row["code"] for row in rows]


@pytest.mark.parametrize("nth", range(2))
async def test_nothing_of_a_test_is_left_to_another(place: Place, nth: int) -> None:
    assert place.codes == await _codes(place.db) == ["one"]
    await place.build(f"test-{nth}")
    assert place.codes == await _codes(place.db) == ["one", f"test-{nth}"]


async def test_who_asks_for_no_world_finds_nothing(worker_db: Database) -> None:
    assert await _codes(worker_db) == []


def test_nothing_is_used_after_a_midnight(place_world: World[Place], monkeypatch: pytest.MonkeyPatch) -> None:
    quarter = time.time() // 900 * 900
    monkeypatch.setattr("tests.worlds.time", SimpleNamespace(time=lambda: quarter))
    before = place_world.template()
    monkeypatch.setattr("tests.worlds.time", SimpleNamespace(time=lambda: quarter + 899))
    assert place_world.template() == before
    monkeypatch.setattr("tests.worlds.time", SimpleNamespace(time=lambda: quarter + 900))
    assert place_world.template() != before
