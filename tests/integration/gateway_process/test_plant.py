"""Lines are swapped while the others run: no poll lost, no second owner of a connection, back again on failure."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from gateway.contract.messages import Point
from gateway.errors import ConfigError
from gateway.outbox import Outbox
from gateway.plant import Plant, PlantError
from gateway.polling.clock import Clock
from gateway.polling.worker import LineWorker
from gateway.settings import SiteSettings
from simulators.modbus.fleet import Fleet, FleetOptions
from tests.integration.gateway_process.test_run import site_file
from tests.integration.modbus.fleet import until
from tests.templates import LIBRARY

_SLOT_MS = 2_000
"""Period of the water meters: longer than a busy machine lets this process wait."""


@dataclass
class Running:
    """A plant of two lines, e and w, with four meters each."""

    plant: Plant
    fleet: Fleet
    raw: dict[str, Any]
    points: list[Point]

    def changed(self, line: str, **fields: Any) -> SiteSettings:
        """The site with some fields of one line changed."""
        lines = [one | fields if one["name"] == line else one for one in self.raw["lines"]]
        return SiteSettings.model_validate(self.raw | {"lines": lines})

    def worker(self, name: str) -> LineWorker:
        found = next(worker for worker in self.plant.lines if worker.stats.name == name)
        assert isinstance(found, LineWorker)
        return found


@asynccontextmanager
async def running_plant(tmp_path: Path) -> AsyncIterator[Running]:
    raw = yaml.safe_load(site_file(tmp_path).read_text())
    raw["lines"][1]["device_series"][0]["periods"] = {"billing_s": _SLOT_MS / 1000, "instant_s": _SLOT_MS / 1000}
    raw["lines"][1]["timeout_s"] = 30
    site = SiteSettings.model_validate(raw)
    points: list[Point] = []

    class Kept:
        async def record(self, new: Sequence[Point]) -> None:
            points.extend(new)

        record_durably = record

    outbox = Outbox.open(tmp_path / "outbox.sqlite", 1 << 24)
    fleet = Fleet(site, FleetOptions())
    await fleet.start()
    plant = Plant(site, LIBRARY, Clock(), Kept(), outbox)
    task = asyncio.create_task(plant.run())
    await until(lambda: len(plant.busy) == 2 and all(worker.stats.connects for worker in plant.lines))
    try:
        yield Running(plant, fleet, raw, points)
    finally:
        plant.stop()
        async with asyncio.timeout(60):
            await asyncio.wait([task])
        await fleet.stop()
        outbox.close()
    await task


async def test_an_untouched_line_loses_no_poll(tmp_path: Path) -> None:
    async with running_plant(tmp_path) as running:
        kept, replaced = running.worker("w"), running.worker("e")
        connects = kept.stats.connects
        for billing_s in (0.3, 0.4, 0.5):
            device = running.raw["lines"][0]["device_series"][0]
            periods = {"billing_s": billing_s, "instant_s": 0.1}
            changes = await running.plant.apply(
                running.changed("e", device_series=[device | {"periods": periods}]), LIBRARY
            )
            assert (changes.kept, changes.replaced) == (("line w",), ("line e",))
            before = kept.stats.visits
            await until(lambda seen=before: kept.stats.visits > seen + 3)  # type: ignore[misc]  # bound now
        assert running.worker("w") is kept
        assert running.worker("e") is not replaced
        assert kept.stats.connects == connects
        assert sum(device.timeouts + device.malformed for device in kept.stats.devices) == 0
        for index, meter in enumerate(kept.devices):
            offset = index * _SLOT_MS // len(kept.devices)
            taken = [one.taken_at for one in running.points if (one.device, one.channel) == (meter, "volume_total")]
            slots = {(at - offset) // _SLOT_MS for at in taken}
            assert slots == set(range(min(slots), max(slots) + 1)), "every slot of the grid has its value"


async def test_lines_come_and_go(tmp_path: Path) -> None:
    async with running_plant(tmp_path) as running:
        whole = SiteSettings.model_validate(running.raw)
        changes = await running.plant.apply(whole.model_copy(update={"lines": whole.lines[:1]}), LIBRARY)
        assert changes.ended == ("line w",)
        assert running.plant.busy == ("line e",)
        changes = await running.plant.apply(whole, LIBRARY)
        assert changes.started == ("line w",)
        await until(lambda: all(device.answers for device in running.worker("w").stats.devices))


async def test_the_same_site_changes_nothing(tmp_path: Path) -> None:
    async with running_plant(tmp_path) as running:
        before = running.plant.lines
        assert not await running.plant.apply(SiteSettings.model_validate(running.raw), LIBRARY)
        assert running.plant.lines == before


async def test_what_cannot_be_built_touches_nothing(tmp_path: Path) -> None:
    async with running_plant(tmp_path) as running:
        before = running.plant.lines
        series = running.raw["lines"][0]["device_series"][0] | {"template": "no-such-model"}
        with pytest.raises(ConfigError):
            await running.plant.apply(running.changed("e", device_series=[series]), LIBRARY)
        assert running.plant.lines == before
        assert len(running.plant.busy) == 2


async def test_what_does_not_run_gives_way_to_what_ran(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with running_plant(tmp_path) as running:
        kept, visits = running.worker("w"), running.worker("w").stats.visits
        run = LineWorker.run

        async def broken(worker: LineWorker) -> None:
            if worker.devices[0] == "broken-1":
                raise OSError("no such port")
            await run(worker)

        monkeypatch.setattr(LineWorker, "run", broken)
        series = running.raw["lines"][0]["device_series"][0] | {"id": "broken-{n}"}
        with pytest.raises(PlantError, match="line e: OSError: no such port"):
            await running.plant.apply(running.changed("e", device_series=[series]), LIBRARY)
        assert running.plant.site == SiteSettings.model_validate(running.raw)
        assert running.worker("w") is kept
        await until(lambda: all(device.answers for device in running.worker("e").stats.devices))
        await until(lambda: kept.stats.visits > visits + 4)


async def test_a_part_that_fails_later_fails_the_plant(tmp_path: Path) -> None:
    async def no_disk(_: Sequence[Point]) -> None:
        raise OSError("disk")

    running = running_plant(tmp_path)
    entered = await running.__aenter__()
    entered.worker("e")._record = no_disk
    await until(lambda: not entered.plant.busy)
    with pytest.raises(OSError, match="disk"):
        await running.__aexit__(None, None, None)
