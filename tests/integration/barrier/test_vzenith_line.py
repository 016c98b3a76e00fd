"""VZenith cameras over a real broker: quick and imaged results, old firmware, silence, and what is told afterwards."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gateway.access.book import AccessBook
from gateway.contract import codec
from gateway.contract.messages import Action, Outcome
from gateway.drivers.barrier import BarrierLine
from gateway.drivers.barrier.events import GateMoved
from gateway.drivers.barrier.pictures import Pictures, unsent_passages
from gateway.outbox import Outbox
from gateway.uplink.settings import MqttEndpoint
from simulators.barrier.lane import Lane
from simulators.barrier.speech import VzenithSpeech
from tests.integration.barrier.conftest import running_gateway
from tests.integration.broker import Mosquitto, until
from tests.integration.uplink.cloud import Cloud

JPEG = b"\xff\xd8\xff\xe0a vehicle"
PLATE = "京A12345"


def lane_settings(**vzenith: Any) -> list[dict[str, Any]]:
    wired = {"passed_input": 1, **vzenith}
    return [{"device": "lane-in", "sn": "VZ-1", "direction": "entry", "dialect": "vzenith", "vzenith": wired}]


@contextlib.asynccontextmanager
async def camera(
    mosquitto: Mosquitto, *, keep_alive_s: float = 10.0, picture: bytes = b"", **speech: Any
) -> AsyncIterator[tuple[Lane, VzenithSpeech]]:
    spoken = VzenithSpeech("device", "VZ-1", **speech)
    endpoint = MqttEndpoint(host=mosquitto.host, port=mosquitto.port)
    lane = Lane(endpoint, "device", "VZ-1", speech=spoken, keep_alive_s=keep_alive_s, camera=lambda *_: picture)
    async with lane:
        yield lane, spoken


async def heard(line: BarrierLine) -> None:
    await until(lambda: line.health()[0].last_seen)


async def heard_again(line: BarrierLine) -> None:
    before = line.health()[0].last_seen
    await until(lambda: line.health()[0].last_seen > before)


async def test_a_quick_and_an_imaged_result_are_one_passage_with_its_picture(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox, tmp_path: Path
) -> None:
    pictures = Pictures(tmp_path / "pictures", 1 << 20, lambda: unsent_passages(outbox))
    gateway = running_gateway(outbox, mosquitto, cloud, pictures=pictures, lanes=lane_settings())
    async with gateway, camera(mosquitto, picture=JPEG) as (lane, speech):
        standing = await lane.arrive(PLATE, "new-energy")
        async with asyncio.timeout(60):
            await standing.left.wait()
        await until(lambda: len(cloud.passages) == 1)
    passage = cloud.passages[0]
    assert (passage.plate, passage.outcome, passage.decision) == (PLATE, Outcome.PASSED, "temporary")
    assert (passage.vehicle_class, passage.image) == ("new-energy", passage.id)
    assert await pictures.read(passage.id) == JPEG
    assert speech.told.count("gate_direct_open") == 1


async def test_the_imaged_result_gives_the_plate_that_the_quick_one_lacked(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud, lanes=lane_settings()), camera(mosquitto) as (lane, _):
        standing = await lane.arrive("")
        await until(lambda: [p.decision for p in cloud.passages] == ["no-plate"])
        await lane.recognise(PLATE)
        async with asyncio.timeout(60):
            await standing.left.wait()
        await until(lambda: len(cloud.passages) == 2)
    assert len({p.id for p in cloud.passages}) == 1
    assert (cloud.passages[-1].plate, cloud.passages[-1].decision) == (PLATE, "temporary")


async def test_a_vehicle_that_is_let_through_at_once_is_named_by_the_imaged_result(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    """Without a sensor the passage is over when the barrier answers, before the picture is there."""
    book = AccessBook()
    (settings,) = lane_settings(passed_input=None)
    freely = [{**settings, "passage_sensor": False, "without_plate": "open"}]
    gateway = running_gateway(outbox, mosquitto, cloud, book=book, lanes=freely)
    async with gateway, camera(mosquitto) as (lane, speech):
        standing = await lane.arrive("")
        async with asyncio.timeout(60):
            await standing.left.wait()
        await until(lambda: [p.outcome for p in cloud.passages] == [Outcome.PASSED])
        lane.standing = standing  # its picture was taken before it drove on
        await lane.recognise(PLATE)
        await until(lambda: len(cloud.passages) == 2)
    first, second = cloud.passages
    assert (first.id, first.plate, second.plate) == (second.id, "", PLATE)
    assert (second.outcome, second.decision) == (Outcome.PASSED, "no-plate")
    assert speech.told.count("gate_direct_open") == 1
    assert book.state(PLATE, "small", "lot-1", second.taken_at).stay is not None


async def test_old_firmware_is_opened_by_its_output_and_asked_in_new_words_only_once(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    async with (
        running_gateway(outbox, mosquitto, cloud, lanes=lane_settings()) as line,
        camera(mosquitto, old=True) as (lane, speech),
    ):
        for plate in (PLATE, "京B22222"):
            standing = await lane.arrive(plate)
            async with asyncio.timeout(60):
                await standing.left.wait()
        await heard(line)
        closing = cloud.command("lane-in", Action.CLOSE_BARRIER)
        await cloud.send(codec.encode_command(closing))
        await until(lambda: cloud.states_of(closing)[-1:] == ["done"])
    assert [word for word in speech.told if word != "set_time"] == ["gate_direct_open"] + ["gpio_out"] * 3


async def test_silence_is_uncertain_and_never_asked_again_in_other_words(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    async with (
        running_gateway(outbox, mosquitto, cloud, lanes=lane_settings(), answer_s=0.3) as line,
        camera(mosquitto, old=True, silent=True) as (lane, speech),
    ):
        await heard(line)
        command = cloud.command("lane-in")
        await cloud.send(codec.encode_command(command))
        await until(lambda: cloud.states_of(command)[-1:] == ["uncertain"])
        await cloud.send(codec.encode_command(command))  # replayed by whoever owns the broker
        lane.faults.swallow_replies = 1
        another = cloud.command("lane-in")
        await cloud.send(codec.encode_command(another))
        await until(lambda: cloud.states_of(another)[-1:] == ["uncertain"])
    assert [word for word in speech.told if word != "set_time"] == ["gate_direct_open"] * 2


async def test_a_device_that_is_not_heard_of_is_told_nothing(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    async with (
        running_gateway(outbox, mosquitto, cloud, lanes=lane_settings(), lost_after_s=2.0) as line,
        camera(mosquitto, keep_alive_s=0.1) as (lane, speech),
    ):
        await heard(line)
        lane.faults.no_keep_alives = True
        await until(lambda: line.lost == {"lane-in"})
        speech.told.clear()
        command = cloud.command("lane-in")
        await cloud.send(codec.encode_command(command))
        await until(lambda: cloud.states_of(command)[-1:] == ["failed"])
        assert speech.told == []
        lane.faults.no_keep_alives = False
        await until(lambda: not line.lost)
        again = cloud.command("lane-in")
        await cloud.send(codec.encode_command(again))
        await until(lambda: cloud.states_of(again)[-1:] == ["done"])


@pytest.mark.parametrize(("times", "shuffled"), [(1, False), (3, True)])
async def test_what_was_kept_while_cut_off_is_told_afterwards_and_opens_nothing(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox, times: int, shuffled: bool
) -> None:
    book = AccessBook()
    gateway = running_gateway(outbox, mosquitto, cloud, book=book, lanes=lane_settings())
    async with gateway as line, camera(mosquitto) as (lane, _):
        await lane.cut_off()
        await lane.arrive(PLATE)
        if not shuffled:  # an input names no vehicle: told in disorder, it moves whichever stands there
            await lane.drive_through()
        await lane.come_back(times=times, shuffled=shuffled)
        await until(lambda: len(cloud.passages) == (2 if not shuffled else 1))
        await heard(line)
    assert {p.id for p in cloud.passages} == {cloud.passages[0].id}
    assert all(p.offline for p in cloud.passages)
    assert lane.orders == []
    assert book.inside("lot-1") == (0 if shuffled else 1)


async def test_a_clock_that_is_off_is_set_and_stops_nobody(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    async with (
        running_gateway(outbox, mosquitto, cloud, lanes=lane_settings()) as line,
        camera(mosquitto, keep_alive_s=0.1) as (lane, speech),
    ):
        speech.clock_off_s = -86_400
        await until(lambda: "set_time" in speech.told)
        await until(lambda: abs(speech.clock_off_s) <= 1)
        speech.clock_off_s = 3_000_000_000  # broken for good: the next time it is set is in ten minutes
        for _ in range(2):  # the first may have been on its way already
            await heard_again(line)
        standing = await lane.arrive(PLATE)
        async with asyncio.timeout(60):
            await standing.left.wait()
        await until(lambda: len(cloud.passages) == 1)
    assert abs(cloud.passages[0].outcome_at - cloud.passages[0].taken_at) < 10_000
    assert not cloud.passages[0].offline


async def test_where_no_loop_sees_a_vehicle_the_word_of_the_barrier_has_to_do(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    lanes = [{**lane_settings(passed_input=None)[0], "passage_sensor": False}]
    book = AccessBook()
    async with running_gateway(outbox, mosquitto, cloud, book=book, lanes=lanes), camera(mosquitto) as (lane, _):
        await lane.arrive(PLATE)
        await until(lambda: [(p.outcome.value, p.decision) for p in cloud.passages] == [("passed", "temporary")])
        assert book.inside("lot-1") == 1
        lane.faults.refuse = 500
        await lane.arrive("京B22222")
        await until(lambda: len(cloud.passages) == 2)
        assert cloud.passages[1].outcome is Outcome.ARRIVED
        lane.faults.refuse = 0
        command = cloud.command("lane-in", arguments={"passage": cloud.passages[1].id})
        await cloud.send(codec.encode_command(command))
        await until(lambda: [p.outcome.value for p in cloud.passages[2:]] == ["passed"])
    assert book.inside("lot-1") == 2


async def test_a_boom_that_is_up_tells_what_a_lost_answer_did_not(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    lanes = [{**lane_settings(passed_input=None)[0], "passage_sensor": False}]
    gateway = running_gateway(outbox, mosquitto, cloud, lanes=lanes, answer_s=0.2)
    async with gateway as line, camera(mosquitto) as (lane, speech):
        lane.faults.swallow_replies = 100
        await lane.arrive(PLATE)
        await until(lambda: [p.outcome.value for p in cloud.passages] == ["arrived"])
        await lane.say(GateMoved(taken_at=cloud.passages[0].taken_at, is_open=True))
        await until(lambda: [p.outcome.value for p in cloud.passages] == ["arrived", "passed"])
        assert line._ports[0].lane.gate_is_open
    assert speech.told.count("gate_direct_open") == 1


async def test_the_list_in_the_camera_is_changed_by_signed_commands_alone(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    async with (
        running_gateway(outbox, mosquitto, cloud, lanes=lane_settings()) as line,
        camera(mosquitto) as (_, speech),
    ):
        await heard(line)
        times = {"since": "2026-11-26 18:00:00", "until": "2026-11-27 18:00:00"}
        put = cloud.command("lane-in", Action.LIST_PLATE, arguments={"plate": PLATE, **times})
        await cloud.send(codec.encode_command(put))
        await until(lambda: cloud.states_of(put)[-1:] == ["done"])
        assert speech.listed == {PLATE: (times["since"], times["until"])}
        off = cloud.command("lane-in", Action.UNLIST_PLATE, arguments={"plate": PLATE})
        await cloud.send(codec.encode_command(off))
        await until(lambda: cloud.states_of(off)[-1:] == ["done"])
        assert speech.listed == {}
        assert {Action.LIST_PLATE, Action.UNLIST_PLATE} <= set(line.health()[0].actions)


async def test_a_barrier_without_a_list_says_so(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    async with running_gateway(outbox, mosquitto, cloud) as line:
        command = cloud.command("lane-in", Action.UNLIST_PLATE, arguments={"plate": PLATE})
        await cloud.send(codec.encode_command(command))
        await until(lambda: cloud.states_of(command)[-1:] == ["failed"])
        assert Action.LIST_PLATE not in line.health()[0].actions
