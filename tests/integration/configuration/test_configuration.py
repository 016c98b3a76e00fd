"""Configurations over a real broker on real lines: taken over, proven and confirmed, or refused, or taken back."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
import yaml

from gateway.configuration.configurator import CannotChange
from gateway.configuration.store import ConfigurationStore
from gateway.contract import codec
from gateway.contract.configuration import ConfigurationState
from gateway.contract.topics import Down
from gateway.drivers.settings import DeviceSettings
from gateway.errors import ConfigError
from gateway.polling.worker import LineWorker
from gateway.settings import load_site
from simulators.modbus.fleet import Fleet
from tests.integration.broker import Mosquitto, until
from tests.integration.configuration.site import (
    Running,
    lines_of,
    nowhere,
    running_fleet,
    running_gateway,
    slower,
    write_site,
)
from tests.integration.uplink.cloud import Cloud
from tests.newer_cloud import other_words
from tests.signing import signer
from tests.templates import LIBRARY


@dataclass
class Place:
    """Where the tests of this module happen."""

    file: Path
    fleet: Fleet
    cloud: Cloud


@pytest.fixture
async def place(tmp_path: Path, mosquitto: Mosquitto, cloud: Cloud) -> AsyncIterator[Place]:
    file = write_site(tmp_path, mosquitto, cloud)
    async with running_fleet(file) as fleet:
        yield Place(file, fleet, cloud)


async def all_answer(running: Running) -> None:
    await until(lambda: all(device.answers for line in running.gateway.plant.lines for device in line.stats.devices))


@asynccontextmanager
async def slots(length_s: float) -> AsyncIterator[set[int]]:
    """Slots of time in which this process came to do anything: what others took away of a busy machine lacks."""
    seen: set[int] = set()

    async def see() -> None:
        while True:
            now = int(time.monotonic() / length_s)
            seen.add(now)
            await asyncio.sleep((now + 1) * length_s - time.monotonic())

    task = asyncio.create_task(see())
    try:
        yield seen
    finally:
        task.cancel()


async def test_a_period_changes_on_one_line_and_the_other_loses_no_poll(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await all_answer(running)
        kept, replaced = running.worker("w"), running.worker("e")
        before = kept.stats.visits
        async with slots(0.5) as slots_seen:
            await running.configure(1, lines_of(place.file, e=slower(place.file, "e", 0.7)))
            await until(lambda: place.cloud.fates_of(1) == ["received", "applied", "confirmed"])
        assert running.worker("e") is not replaced
        assert running.worker("w") is kept
        assert (kept.stats.connects, sum(device.timeouts for device in kept.stats.devices)) == (1, 0)
        # Half a second is a slot of each of its four meters; those at both ends were not seen as a whole.
        assert kept.stats.visits - before >= 4 * (len(slots_seen) - 2)


async def test_what_is_not_valid_is_refused_with_every_problem_and_nothing_changes(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await all_answer(running)
        before = running.gateway.plant.lines
        await running.configure(1, "lines:\n- {name: e, protocol: modbus-tcp}\nbroker: {host: evil}\n")
        await until(lambda: place.cloud.fates_of(1) == ["refused"])
        detail = place.cloud.configurations[-1].detail
        assert "site.yaml:2: lines[0].host: this key is required" in detail
        assert "site.yaml:3: broker: unknown key" in detail
        assert running.gateway.plant.lines == before
        await running.configure(2, "{}")
        await until(lambda: place.cloud.fates_of(2)[-1:] == ["applied"])


async def test_what_is_not_the_clouds_order_to_this_gateway_is_refused_and_told(place: Place) -> None:
    cloud = place.cloud
    good = cloud.configuration(3, "lines: []")
    forged = [
        (msgspec.structs.replace(good, site="lines: [ ]"), "signature: does not match"),
        (cloud.configuration(3, key_id="k9"), "signature: unknown key k9"),
        (cloud.configuration(3, gateway="gw-2"), "address: meant for demo/gw-2"),
    ]
    async with running_gateway(place.file, cloud) as running:
        await all_answer(running)
        for configuration, detail in forged:
            await cloud.send(codec.encode_configuration(configuration), Down.CONFIG)
            await until(lambda wanted=detail: [one.detail for one in cloud.configurations][-1:] == [wanted])  # type: ignore[misc]  # bound now
            assert cloud.configurations[-1].proven is False
        await cloud.send(b"garbage", Down.CONFIG)
        await until(lambda: running.gateway.configurator.refused == 4)
        assert running.gateway.configurator.state == (0, ConfigurationState.QUEUED)
        assert len(running.gateway.plant.lines) == 2


async def test_a_number_that_is_not_above_the_last_is_refused_and_a_repetition_answered(place: Place) -> None:
    cloud = place.cloud
    async with running_gateway(place.file, cloud) as running:
        await running.configure(5, "periods: {billing_s: 1}", issued_at=1_764_000_000_000)
        await until(lambda: cloud.fates_of(5) == ["received", "applied"])
        await running.configure(5, "periods: {billing_s: 1}", issued_at=1_764_000_000_000)
        await until(lambda: cloud.fates_of(5) == ["received", "applied", "applied"])
        for number, text in ((4, "{}"), (5, "lines: []")):
            await running.configure(number, text)
            await until(lambda wanted=number: cloud.fates_of(wanted)[-1:] == ["refused"])  # type: ignore[misc]  # bound now
            assert cloud.configurations[-1].detail == "its number is not above 5"
        assert running.gateway.plant.site.periods.billing_s == 1


async def test_a_newer_cloud_says_more_and_is_understood_or_told_that_it_is_not(place: Place) -> None:
    cloud = place.cloud
    async with running_gateway(place.file, cloud) as running:
        one = cloud.configuration(1, "periods: {billing_s: 1}")
        await cloud.send(other_words(one, signer(cloud.key), more=["at night", [1]]), Down.CONFIG)
        await until(lambda: cloud.fates_of(1) == ["received", "applied", "confirmed"])
        for number, changed in ((2, {"version": 2}), (3, {"site": ["periods"]})):
            strange = other_words(cloud.configuration(number, "{}"), signer(cloud.key), changed=changed)
            await cloud.send(strange, Down.CONFIG)
            await until(lambda wanted=number: cloud.fates_of(wanted) == ["refused"])  # type: ignore[misc]  # bound now
            assert cloud.configurations[-1].detail.startswith("not understood: ")
        # No software that is installed later takes what the cloud was told to be refused.
        await running.configure(3, "periods: {billing_s: 9}")
        await until(lambda: cloud.fates_of(3) == ["refused", "refused"])
        assert running.gateway.plant.site.periods.billing_s == 1
        assert (await running.gateway._health.report()).refused == 2


@pytest.mark.parametrize("refused", ["lines: [{name: e}]", "of a newer cloud"])
async def test_one_on_probation_does_not_stay_because_the_next_is_refused(place: Place, refused: str) -> None:
    cloud = place.cloud
    async with running_gateway(place.file, cloud) as running:
        await all_answer(running)
        port = running.port_of("e")
        await running.configure(1, lines_of(place.file, e=nowhere()), confirm_s=3_600)
        await until(lambda: cloud.fates_of(1) == ["received", "applied"])
        changed = {"version": 2} if refused == "of a newer cloud" else {}
        two = other_words(cloud.configuration(2, refused), signer(cloud.key), changed=changed)
        await cloud.send(two, Down.CONFIG)
        await until(lambda: cloud.fates_of(2) == ["refused"])
        assert cloud.fates_of(1) == ["received", "applied", "rolled-back"]
        await until(lambda: running.port_of("e") == port)


async def test_a_line_whose_meters_fall_silent_brings_the_former_back(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await all_answer(running)
        port, kept = running.port_of("e"), running.worker("w")
        await running.configure(1, lines_of(place.file, e=nowhere()))
        await until(lambda: place.cloud.fates_of(1)[:2] == ["received", "applied"])
        assert running.port_of("e") != port
        await until(lambda: place.cloud.fates_of(1)[2:] == ["rolled-back"])
        detail = place.cloud.configurations[-1].detail
        assert detail == "line e: no answer of e-1, e-2, e-3 and 1 more, where there was one before"
        await until(lambda: running.port_of("e") == port)
        await until(lambda: all(device.answers for device in running.worker("e").stats.devices))
        assert running.worker("w") is kept


async def test_a_cloud_that_is_not_reached_brings_the_former_back(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await all_answer(running)
        await running.configure(1, "periods: {billing_s: 1}")
        await until(lambda: place.cloud.fates_of(1) == ["received", "applied", "confirmed"])
        place.cloud.answer = lambda _: None
        await running.configure(2, "periods: {billing_s: 2}")
        await until(lambda: place.cloud.fates_of(2)[-1:] == ["rolled-back"])
        assert place.cloud.configurations[-1].detail == "no acknowledgement of the cloud within 2 s"
        await until(lambda: running.gateway.plant.site.periods.billing_s == 1)


async def test_a_newer_one_ends_the_probation_and_the_last_confirmed_stays_the_way_back(place: Place) -> None:
    cloud = place.cloud
    async with running_gateway(place.file, cloud) as running:
        await running.configure(1, "periods: {billing_s: 1}")
        await until(lambda: cloud.fates_of(1)[-1:] == ["confirmed"])
        await running.configure(2, "periods: {billing_s: 2}", confirm_s=3_600)
        await until(lambda: cloud.fates_of(2)[-1:] == ["applied"])
        await running.configure(3, "periods: {billing_s: 3}", confirm_s=3_600)
        await until(lambda: cloud.fates_of(3)[-1:] == ["applied"])
        assert cloud.fates_of(2) == ["received", "applied", "rolled-back"]
        kept = ConfigurationStore(load_site(place.file).state_directory).load()
        assert (kept.running and kept.running.number, kept.previous and kept.previous.number) == (3, 1)


async def test_a_probation_goes_on_after_clean_stops_however_many(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await running.configure(1, "periods: {billing_s: 1}", confirm_s=3)
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["applied"])
    for _ in range(3):
        async with running_gateway(place.file, place.cloud) as running:
            assert running.gateway.plant.site.periods.billing_s == 1
    async with running_gateway(place.file, place.cloud):
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["confirmed"])


async def test_a_confirmed_one_is_there_after_a_restart_unless_it_no_longer_fits_the_site_file(place: Place) -> None:
    text = "barriers: [{name: g, lot: l, broker: {host: b}, lanes: [{device: lane, sn: S, direction: entry}]}]"
    async with running_gateway(place.file, place.cloud) as running:
        await running.configure(1, text)
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["confirmed"])
    async with running_gateway(place.file, place.cloud) as running:
        assert [barrier.name for barrier in running.gateway.plant.site.barriers] == ["g"]
        await until(lambda: place.cloud.fates_of(1)[-2:] == ["confirmed", "confirmed"])
    raw = yaml.safe_load(place.file.read_text())
    del raw["lines"][0]["device_series"]
    raw["lines"][0] |= {"devices": [{"id": "lane", "template": "gatemeter-demo-water", "unit_id": 1}]}
    place.file.write_text(yaml.safe_dump(raw))
    async with running_gateway(place.file, place.cloud) as running:
        assert running.gateway.plant.site.barriers == ()
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["rolled-back"])
        assert "each device once, lane is repeated" in place.cloud.configurations[-1].detail


async def test_a_dead_line_is_taken_back_also_after_a_restart_on_probation(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await all_answer(running)
        port = running.port_of("e")
        await running.configure(1, lines_of(place.file, e=nowhere()))
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["applied"])
    async with running_gateway(place.file, place.cloud) as running:
        assert running.port_of("e") != port
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["rolled-back"])
        assert place.cloud.configurations[-1].detail.startswith("line e: no answer of e-1")
        await until(lambda: running.port_of("e") == port)


async def test_what_does_not_run_in_place_of_one_on_probation_brings_back_the_last_confirmed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await running.configure(1, "periods: {billing_s: 1}", confirm_s=3_600)
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["applied"])
        run = LineWorker.run

        async def broken(worker: LineWorker) -> None:
            if worker.stats.name == "x":
                raise OSError("no such port")
            await run(worker)

        monkeypatch.setattr(LineWorker, "run", broken)
        await running.configure(2, "lines: [{name: x, protocol: modbus-tcp, host: 127.0.0.1}]")
        await until(lambda: place.cloud.fates_of(2) == ["received", "rolled-back"])
        assert "line x: OSError: no such port" in place.cloud.configurations[-1].detail
        await until(lambda: running.gateway.plant.site.periods.billing_s == 0.5)
        assert running.gateway.plant.busy == ("line e", "line w")


async def test_a_disk_that_takes_nothing_refuses_it_and_stops_nothing(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await all_answer(running)
        (load_site(place.file).state_directory / "configuration.json.new").mkdir()
        await running.configure(1, "periods: {billing_s: 1}")
        await until(lambda: place.cloud.fates_of(1) == ["refused"])
        assert place.cloud.configurations[-1].detail == "the disk does not take it"
        await running.configure(2, "periods: 5")
        await until(lambda: place.cloud.fates_of(2) == ["refused"])
        assert running.gateway.plant.site.periods.billing_s == 0.5
        assert len(running.gateway.plant.busy) == 2


async def test_the_site_file_can_forbid_it(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await running.configure(1, "periods: {billing_s: 1}")
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["confirmed"])
        own = yaml.safe_load(place.file.read_text()) | {"remote_configuration": False}
        place.file.write_text(yaml.safe_dump(own))
        await running.gateway.reload(load_site(place.file), LIBRARY)
        assert running.gateway.plant.site.periods.billing_s == 0.5
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["rolled-back"])
        await running.configure(2, "periods: {billing_s: 1}")
        await until(lambda: place.cloud.fates_of(2) == ["refused"])
        assert "remote_configuration: false" in place.cloud.configurations[-1].detail


async def test_a_reload_changes_what_the_cloud_left_to_the_file(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        await running.configure(1, "periods: {billing_s: 1}")
        await until(lambda: place.cloud.fates_of(1)[-1:] == ["confirmed"])
        raw = yaml.safe_load(place.file.read_text())
        place.file.write_text(yaml.safe_dump(raw | {"lines": raw["lines"][:1], "periods": {"billing_s": 9}}))
        await running.gateway.reload(load_site(place.file), LIBRARY)
        assert [line.stats.name for line in running.gateway.plant.lines] == ["e"]
        assert running.gateway.plant.site.periods.billing_s == 1, "the cloud's key wins"
        with pytest.raises(CannotChange, match="health_port can only change with a restart"):
            await running.gateway.reload(load_site(place.file).model_copy(update={"health_port": 1}), LIBRARY)
        unknown = DeviceSettings(id="x", template="no-such-model", unit_id=1)
        site = load_site(place.file)
        line = site.lines[0].model_copy(update={"device_series": (), "devices": (unknown,)})
        with pytest.raises(ConfigError):
            await running.gateway.reload(site.model_copy(update={"lines": (line,)}), LIBRARY)
        assert [line.stats.name for line in running.gateway.plant.lines] == ["e"]


async def test_a_reload_changes_the_keys_that_are_trusted(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        raw = yaml.safe_load(place.file.read_text())
        place.file.write_text(yaml.safe_dump(raw | {"cloud_keys": {"k2": place.cloud.keys["k1"]}}))
        await running.gateway.reload(load_site(place.file), LIBRARY)
        await running.configure(1, "{}")
        await until(lambda: [one.detail for one in place.cloud.configurations] == ["signature: unknown key k1"])
        order = place.cloud.command("e-1")
        await place.cloud.send(codec.encode_command(order))
        await until(lambda: place.cloud.states_of(order) == ["failed"])
        await running.configure(2, "{}", key_id="k2")
        await until(lambda: place.cloud.fates_of(2)[-1:] == ["applied"])


async def test_configurations_that_come_at_once_are_taken_one_after_the_other(place: Place) -> None:
    async with running_gateway(place.file, place.cloud) as running:
        handle = running.gateway.configurator.handle
        await all_answer(running)
        await asyncio.gather(
            *(
                handle(
                    codec.encode_configuration(place.cloud.configuration(number, f"periods: {{billing_s: {number}}}"))
                )
                for number in (1, 2, 3)
            )
        )
        assert running.gateway.plant.site.periods.billing_s == 3
        assert running.gateway.configurator.state == (3, ConfigurationState.APPLIED)
