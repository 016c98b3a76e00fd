"""The uplink on a real broker: nothing lost, nothing freed too early, whatever dies."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.contract import codec
from gateway.contract.messages import Ack, Command, CommandState, Envelope, Passage, Point, Rejection
from gateway.contract.topics import Down, Up
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox, Shed
from gateway.outbox.inspection import Inspection
from gateway.outbox.salvage import Found
from gateway.tasks import end
from gateway.uplink import Backoff, BrokerSettings, LinkState, Uplink
from tests.integration.broker import Mosquitto, running_mosquitto, until
from tests.integration.uplink.cloud import GATEWAY, PROJECT, Cloud, accept, now_ms, reject

OTHER_EPOCH = "00000000-0000-4000-8000-000000000000"


async def no_commands(command: Command) -> CommandOutcome:
    return CommandOutcome(CommandState.FAILED, "unexpected")


def points(number: int) -> bytes:
    return codec.encode_body([Point(f"meter-{number}", "energy_import_total", now_ms(), number)])


def passage(plate: str) -> bytes:
    made = Passage(OTHER_EPOCH, "lane-out", plate, now_ms(), "arrived", "exit")  # type: ignore[arg-type]  # as decoded
    return codec.encode_body([made])


@contextlib.asynccontextmanager
async def running(uplink: Uplink) -> AsyncIterator[Uplink]:
    task = asyncio.ensure_future(uplink.run())
    try:
        yield uplink
    finally:
        await end(task)


def make_uplink(broker: Mosquitto, outbox: Outbox, cloud: Cloud | None = None, **broker_settings: object) -> Uplink:
    settings = BrokerSettings.model_validate({"host": broker.host, "port": broker.port, **broker_settings})
    return Uplink(
        settings, PROJECT, GATEWAY, outbox, no_commands,
        cloud_keys=cloud.keys if cloud else {}, backoff=Backoff(0.05, 0.2, random.Random(1)),
    )  # fmt: skip


async def empty(outbox: Outbox, timeout_s: float = 60.0) -> None:
    async with asyncio.timeout(timeout_s):
        while (await outbox.stats()).rows:
            await asyncio.sleep(0.01)


async def test_batches_are_freed_by_the_clouds_acknowledgement_only(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    cloud.answer = lambda envelope: None
    seqs = [await outbox.put(Up.READINGS, points(n)) for n in range(3)]
    async with running(make_uplink(mosquitto, outbox)) as uplink:
        await until(lambda: len(cloud.received) == 3)
        assert (await outbox.stats()).rows == 3
        await cloud.send(codec.encode_ack(Ack(1, outbox.epoch, tuple(seqs[:2]))), Down.ACK)
        await until(lambda: uplink.counters.accepted == 2)
        assert [row.seq for row in await outbox.waiting(0, 9)] == seqs[2:]
        assert cloud.bodies[seqs[0]].startswith(b'[["meter-0"')


async def test_broker_killed_in_mid_traffic_loses_nothing(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    promised: list[int] = []

    async def produce() -> None:
        for number in range(400):
            promised.append(await outbox.put(Up.READINGS, points(number)))
            await asyncio.sleep(0.001)

    async with running(make_uplink(mosquitto, outbox, window=8, resend_after_s=0.5)) as uplink:
        producing = asyncio.ensure_future(produce())
        for threshold in (50, 150):
            await until(lambda reached=threshold: len(cloud.received) > reached)  # type: ignore[misc]  # bound now
            mosquitto.kill()
            await until(lambda: uplink.state is not LinkState.ONLINE)
            await mosquitto.start()
        await producing
        await empty(outbox)
        assert set(cloud.received) == set(promised)
        assert uplink.counters.sessions >= 3


async def test_a_lost_acknowledgement_is_mended_by_a_resend(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    heard: set[int] = set()

    def deaf_at_first(envelope: Envelope) -> Ack | None:
        if envelope.seq in heard:
            return accept(envelope)
        heard.add(envelope.seq)
        return None

    cloud.answer = deaf_at_first
    for number in range(5):
        await outbox.put(Up.READINGS, points(number))
    async with running(make_uplink(mosquitto, outbox, resend_after_s=0.1)) as uplink:
        await empty(outbox)
        assert uplink.counters.resent >= 5
        assert all(count >= 2 for count in cloud.received.values())


async def test_no_more_than_the_window_is_under_way(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    cloud.answer = lambda envelope: None
    for number in range(20):
        await outbox.put(Up.READINGS, points(number))
    async with running(make_uplink(mosquitto, outbox, window=8, resend_after_s=0.2)) as uplink:
        await until(lambda: uplink.counters.resent >= 12)
        assert len(cloud.received) == 6  # a quarter is kept for passages and results


async def test_a_passage_overtakes_the_backlog(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    for number in range(200):
        await outbox.put(Up.READINGS, points(number))
    seq = await outbox.put(Up.PASSAGES, passage("京A12345"))
    async with running(make_uplink(mosquitto, outbox, window=4)):
        await until(lambda: seq in cloud.received)
        assert len(cloud.received) < 50
        assert cloud.passages[0].plate == "京A12345"


async def test_what_was_given_up_is_told_to_the_cloud(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    outbox.lose([Point("m-1", "voltage_l1", now_ms(), 1)] * 5)
    async with running(make_uplink(mosquitto, outbox)):
        await outbox.put(Up.READINGS, points(1))
        await until(lambda: len(cloud.received) == 2)
        await empty(outbox)
    (told,) = [body for body in cloud.bodies.values() if b"outbox-full" in body]
    assert [(gap.device, gap.count) for gap in codec.decode_gaps(told)] == [("m-1", 5)]


async def test_batches_put_while_online_and_by_others_all_arrive(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox, tmp_path: Path
) -> None:
    promised: list[int] = []
    async with running(make_uplink(mosquitto, outbox, window=8)) as uplink:
        await until(lambda: uplink.state is LinkState.ONLINE)
        for turn in range(20):
            promised += await asyncio.gather(*(outbox.put(Up.READINGS, points(n)) for n in range(turn % 7 + 1)))
            if turn % 5 == 0:
                inspection = Inspection(tmp_path / "outbox.db")
                found = Found(1, Up.READINGS, Shed.BILLING, now_ms(), "queued", points(1_000 + turn))
                inspection.add([found])
                inspection.close()
        promised.append(await outbox.put(Up.READINGS, points(5)))
        await empty(outbox)
        assert set(promised) < set(cloud.received)
        assert len(cloud.received) == len(promised) + 4
        assert uplink.counters.resent == 0


async def test_duplicate_foreign_and_malformed_acknowledgements_harm_nothing(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    cloud.answer = lambda envelope: None
    seqs = [await outbox.put(Up.READINGS, points(n)) for n in range(2)]
    async with running(make_uplink(mosquitto, outbox)) as uplink:
        await until(lambda: len(cloud.received) == 2)
        await cloud.send(codec.encode_ack(Ack(1, OTHER_EPOCH, tuple(seqs))), Down.ACK)
        await cloud.send(b"not an acknowledgement", Down.ACK)
        await cloud.send(b"", Down.ACK)
        await cloud.send(b"?", Down.CONFIG)
        for _ in range(3):
            await cloud.send(codec.encode_ack(Ack(1, outbox.epoch, (seqs[0], seqs[0], 77))), Down.ACK)
        await until(lambda: uplink.counters.accepted >= 9)
        assert uplink.counters.foreign_acks == 1
        assert uplink.counters.malformed == 2
        assert [row.seq for row in await outbox.waiting(0, 9)] == [seqs[1]]


async def test_a_rejected_batch_is_parked_with_its_reason(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    cloud.answer = lambda envelope: reject(envelope, "bad-schema: no") if envelope.seq == 1 else accept(envelope)
    await outbox.put(Up.READINGS, b'["nonsense"]')
    await outbox.put(Up.READINGS, points(1))
    async with running(make_uplink(mosquitto, outbox)) as uplink:
        await empty(outbox)
        assert uplink.counters.rejected == 1
    assert (await outbox.stats()).parked == 1
    assert await outbox.run(lambda db: db.execute("SELECT reason FROM batch").fetchall()) == [("bad-schema: no",)]


async def test_a_batch_beyond_the_wires_limits_is_parked_and_does_not_block(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    await outbox.put(Up.READINGS, b'["' + b"x" * 1_100_000 + b'"]')
    good = await outbox.put(Up.READINGS, points(1))
    async with running(make_uplink(mosquitto, outbox, window=1)):
        await until(lambda: good in cloud.received)
    assert (await outbox.stats()).parked == 1


async def test_stopping_waits_for_the_last_acknowledgements(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    uplink = make_uplink(mosquitto, outbox)
    task = asyncio.ensure_future(uplink.run())
    await until(lambda: uplink.state is LinkState.ONLINE)
    for number in range(100):
        await outbox.put(Up.READINGS, points(number))
    uplink.stop()
    async with asyncio.timeout(60):
        await task
    assert (await outbox.stats()).rows == 0
    assert uplink.state is LinkState.STOPPED


async def test_stopping_is_bounded_when_the_cloud_is_silent(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    cloud.answer = lambda envelope: None
    uplink = make_uplink(mosquitto, outbox, drain_s=0.2)
    await outbox.put(Up.READINGS, points(1))
    task = asyncio.ensure_future(uplink.run())
    await until(lambda: len(cloud.received) == 1)
    uplink.stop()
    async with asyncio.timeout(60):
        await task
    assert (await outbox.stats()).rows == 1


async def test_stopping_without_a_broker_returns_at_once(tmp_path: Path, outbox: Outbox) -> None:
    uplink = make_uplink(Mosquitto(tmp_path), outbox, drain_s=300)
    await outbox.put(Up.READINGS, points(1))
    task = asyncio.ensure_future(uplink.run())
    await until(lambda: uplink.state is LinkState.WAITING)
    uplink.stop()
    async with asyncio.timeout(60):
        await task
    assert (await outbox.stats()).rows == 1


async def test_each_gateway_is_held_to_its_own_subtree(outbox: Outbox, monkeypatch: pytest.MonkeyPatch) -> None:
    acl = f"user gw\npattern readwrite gm/v1/{PROJECT}/{GATEWAY}/#\n"
    async with running_mosquitto({"gw": "right"}, acl) as broker:
        monkeypatch.setenv("GM_TEST_PASSWORD", "wrong")
        uplink = make_uplink(broker, outbox, username="gw", password_env="GM_TEST_PASSWORD")
        async with running(uplink):
            await until(lambda: uplink.state is LinkState.WAITING)
            assert uplink.counters.sessions == 0
            monkeypatch.setenv("GM_TEST_PASSWORD", "right")
            await until(lambda: uplink.state is LinkState.ONLINE)


async def test_many_rejections_and_acceptances_in_one_message(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox
) -> None:
    cloud.answer = lambda envelope: None
    seqs = [await outbox.put(Up.READINGS, points(n)) for n in range(20)]
    async with running(make_uplink(mosquitto, outbox)) as uplink:
        await until(lambda: len(cloud.received) == 20)
        ack = Ack(1, outbox.epoch, tuple(seqs[::2]), tuple(Rejection(seq, "no") for seq in seqs[1::2]))
        await cloud.send(codec.encode_ack(ack), Down.ACK)
        await until(lambda: uplink.counters.rejected == 10)
    stats = await outbox.stats()
    assert (stats.rows, stats.parked) == (0, 10)
