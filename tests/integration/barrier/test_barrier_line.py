"""From camera to cloud and back over a real broker: entries, exits, and what goes wrong at a barrier."""

import asyncio
import contextlib
from pathlib import Path

import msgspec
import pytest

from gateway.access.book import AccessBook
from gateway.contract import codec
from gateway.contract.access import ListEntry, Listing
from gateway.contract.messages import Action, Outcome, Passage
from gateway.drivers.barrier import BarrierLine
from gateway.drivers.barrier.events import Passed
from gateway.outbox import Outbox, OutboxError
from gateway.tasks import end
from gateway.uplink import MqttEndpoint
from simulators.barrier.cli import simulate
from simulators.barrier.lane import Lane
from simulators.barrier.plates import Vehicle
from simulators.barrier.traffic import Traffic
from tests.integration.barrier.conftest import line_settings, running_gateway
from tests.integration.broker import Mosquitto, until
from tests.integration.uplink.cloud import Cloud, now_ms
from tests.unit.gateway.access.updates import update

Lanes = tuple[Lane, Lane]


def told(cloud: Cloud, plate: str) -> list[tuple[str, str]]:
    return [(p.outcome.value, p.decision) for p in cloud.passages if p.plate == plate]


def passage_of(cloud: Cloud, plate: str, outcome: Outcome) -> Passage:
    return next(p for p in cloud.passages if p.plate == plate and p.outcome is outcome)


async def gone(lane_event: asyncio.Event) -> None:
    async with asyncio.timeout(60):
        await lane_event.wait()


async def test_entry_opens_and_the_passage_is_told_when_the_vehicle_is_through(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud) as line:
        standing = await lanes[0].arrive("京A·d1234 5", "new-energy")
        await gone(standing.left)
        await until(lambda: bool(cloud.passages))
        await until(lambda: line.health()[0].answers == 1)
    passage = cloud.passages[0]
    assert (passage.device, passage.plate, passage.direction) == ("lane-in", "京AD12345", "entry")
    assert (passage.outcome, passage.decision, passage.vehicle_class) == (Outcome.PASSED, "temporary", "new-energy")
    assert passage.plate_read == "京A·d1234 5"
    assert passage.outcome_at >= passage.taken_at
    assert len(lanes[0].orders) == 1
    assert len(cloud.passages) == 1


async def test_exit_waits_for_the_signed_command(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        standing = await lanes[1].arrive("京A12345")
        await until(lambda: told(cloud, "京A12345") == [("arrived", "await-cloud")])
        assert lanes[1].orders == []
        arrived = cloud.passages[0]
        command = cloud.command("lane-out", arguments={"passage": arrived.id})
        await cloud.send(codec.encode_command(command))
        await gone(standing.left)
        await until(lambda: len(told(cloud, "京A12345")) == 2)
        await until(lambda: cloud.states_of(command) == ["delivered", "executing", "done"])
    passed = passage_of(cloud, "京A12345", Outcome.PASSED)
    assert passed.id == arrived.id
    assert passed.taken_at == arrived.taken_at
    assert passed.decision == "command"


async def test_a_passing_told_again_moves_no_other_vehicle(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        first = await lanes[1].arrive("京A11111")
        await until(lambda: len(cloud.passages) == 1)
        command = cloud.command("lane-out", arguments={"passage": cloud.passages[0].id})
        await cloud.send(codec.encode_command(command))
        await gone(first.left)
        await until(lambda: len(told(cloud, "京A11111")) == 2)
        await lanes[1].arrive("京A22222")
        await until(lambda: len(told(cloud, "京A22222")) == 1)
        # The camera was cut off for a moment and tells what it does not know to have been heard.
        for again in (Passed(id=first.event_id, taken_at=1_700_000_000_000, offline=True),) * 2:
            await lanes[1].say(again)
        await lanes[1].turn_back()
        await until(lambda: len(told(cloud, "京A22222")) == 2)
    assert told(cloud, "京A22222") == [("arrived", "await-cloud"), ("turned-back", "await-cloud")]
    assert len(told(cloud, "京A11111")) == 2
    assert len(cloud.passages) == 4


async def test_a_command_for_a_vehicle_that_is_gone_opens_nothing(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        await lanes[1].arrive("京A12345")
        await until(lambda: len(cloud.passages) == 1)
        await lanes[1].turn_back()
        await until(lambda: told(cloud, "京A12345")[-1][0] == "turned-back")
        command = cloud.command("lane-out", arguments={"passage": cloud.passages[0].id})
        await cloud.send(codec.encode_command(command))
        await until(lambda: cloud.states_of(command)[-1:] == ["failed"])
    assert lanes[1].orders == []


async def test_operator_opens_and_closes_without_naming_a_vehicle(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        for action in (Action.OPEN_BARRIER, Action.CLOSE_BARRIER):
            command = cloud.command("lane-in", action)
            await cloud.send(codec.encode_command(command))
            await until(lambda wanted=command: cloud.states_of(wanted)[-1:] == ["done"])  # type: ignore[misc]  # bound now
        wrong = cloud.command("lane-in", Action.OPEN_VALVE)
        await cloud.send(codec.encode_command(wrong))
        await until(lambda: cloud.states_of(wrong)[-1:] == ["failed"])
    assert [order.type for order in lanes[0].orders] == ["open", "close"]


async def test_a_lost_answer_is_uncertain_and_never_tried_again(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    lanes[1].faults.swallow_replies = 1
    async with running_gateway(outbox, mosquitto, cloud, answer_s=0.5) as line:
        standing = await lanes[1].arrive("京A12345")
        await until(lambda: len(cloud.passages) == 1)
        command = cloud.command("lane-out", arguments={"passage": cloud.passages[0].id})
        await cloud.send(codec.encode_command(command))
        await gone(standing.left)
        await until(lambda: cloud.states_of(command)[-1:] == ["uncertain"])
        await until(lambda: told(cloud, "京A12345")[-1][0] == "passed")
        assert line.health()[1].timeouts == 1
    assert len(lanes[1].orders) == 1


async def test_a_refusing_barrier_fails_the_command_and_shows_the_vehicle(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    lanes[0].faults.refuse = 7
    async with running_gateway(outbox, mosquitto, cloud):
        await lanes[0].arrive("京A12345")
        await until(lambda: told(cloud, "京A12345") == [("arrived", "temporary")])
        command = cloud.command("lane-in")
        await cloud.send(codec.encode_command(command))
        await until(lambda: cloud.states_of(command)[-1:] == ["failed"])


@pytest.mark.parametrize("off_ms", [20_000, 7_200_000, -7_200_000])
async def test_a_device_whose_clock_is_off_opens_and_does_not_take_an_order_for_expired(
    mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox, off_ms: int
) -> None:
    endpoint = MqttEndpoint(host=mosquitto.host, port=mosquitto.port)
    gateway = running_gateway(outbox, mosquitto, cloud)
    async with gateway as line, Lane(endpoint, "barriers", "IN-1", keep_alive_s=0.1) as lane:
        lane.faults.clock_off_ms = off_ms
        await until(lambda: abs(line._ports[0].lane.device_clock.off + off_ms) < 5_000)
        standing = await lane.arrive("京A12345")
        await gone(standing.left)
        await until(lambda: told(cloud, "京A12345") == [("passed", "temporary")])
        command = cloud.command("lane-in")
        await cloud.send(codec.encode_command(command))
        await until(lambda: cloud.states_of(command)[-1:] == ["done"])
    by_its_clock = [order.expires_at - now_ms() - off_ms for order in lane.orders]
    assert all(0 < left < 60_000 for left in by_its_clock[1:]), "the cloud's order ends when it should"


async def test_the_same_plate_within_seconds_is_one_passage(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        await lanes[1].arrive("京A12345")
        for _ in range(3):
            await lanes[1].recognise("京A12345")
        await lanes[1].turn_back()
        await until(lambda: len(told(cloud, "京A12345")) == 2)
    assert len({p.id for p in cloud.passages}) == 1


async def test_what_happened_offline_is_told_but_opens_nothing(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        await lanes[0].arrive("京A12345", offline=True)
        await lanes[0].drive_through(offline=True)
        await until(lambda: [outcome for outcome, _ in told(cloud, "京A12345")] == ["arrived", "passed"])
    assert all(p.offline for p in cloud.passages)
    assert lanes[0].orders == []


async def test_a_blacklisted_vehicle_stays_outside_and_a_permit_leaves_without_the_cloud(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    book = AccessBook()
    await book.take(update(1, ListEntry("b", "京A66666", Listing.BLACK), ListEntry("w", "京A88888", Listing.WHITE)))
    line = BarrierLine(line_settings(mosquitto), outbox, book=book)
    running = asyncio.ensure_future(line.run())
    await until(lambda: line.connected)
    await lanes[0].arrive("京A66666")
    standing = await lanes[1].arrive("京A88888")
    await gone(standing.left)
    line.stop()
    await running
    rows = [codec.decode_passages(row.body)[0] for row in await outbox.waiting(0, 10)]
    assert {(p.plate, p.outcome.value, p.decision) for p in rows} == {
        ("京A66666", "arrived", "blacklist"),
        ("京A88888", "passed", "whitelist"),
    }
    assert lanes[0].orders == []


async def test_a_silent_cloud_lets_out_where_the_operator_wants_it(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    cloud.answer = lambda envelope: None
    lane = {"device": "lane-out", "sn": "OUT-1", "direction": "exit", "cloud_silent": "open"}
    async with running_gateway(outbox, mosquitto, cloud, lanes=[lane], cloud_silent_s=0.2):
        standing = await lanes[1].arrive("京A12345")
        await gone(standing.left)
        await until(lambda: told(cloud, "京A12345")[-1:] == [("passed", "cloud-silent")])


async def test_an_answering_cloud_is_not_silent_however_long_the_driver_pays(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    lane = {"device": "lane-out", "sn": "OUT-1", "direction": "exit", "cloud_silent": "open"}
    async with running_gateway(outbox, mosquitto, cloud, lanes=[lane], cloud_silent_s=2.0) as line:
        await lanes[1].arrive("京A12345")
        await until(lambda: len(cloud.passages) == 1)
        lane_out = line._ports[0].lane
        await until(lambda: not lane_out._watches)  # the watch has looked and gone home
    assert lanes[1].orders == []


async def test_a_restarted_gateway_still_knows_who_stands_before_the_barrier(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, tmp_path: Path
) -> None:
    path = tmp_path / "kept.db"
    first = Outbox.open(path, 1 << 26)
    async with running_gateway(first, mosquitto, cloud):
        standing = await lanes[1].arrive("京A12345")
        await until(lambda: len(cloud.passages) == 1)
    first.close()
    second = Outbox.open(path, 1 << 26)
    async with running_gateway(second, mosquitto, cloud):
        command = cloud.command("lane-out", arguments={"passage": cloud.passages[0].id})
        await cloud.send(codec.encode_command(command))
        await gone(standing.left)
        await until(lambda: told(cloud, "京A12345")[-1] == ("passed", "command"))
    second.close()
    assert len({p.id for p in cloud.passages}) == 1


async def test_malformed_messages_are_counted_and_the_line_goes_on(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    bad = [
        b"", b"\xff\xfe", b"[]", b"{}", b'{"type":"levitated","taken_at":1764000000000}',
        b"[" * 50_000, b"x" * 70_000, b"x" * (1 << 20) + b"x",
    ]  # fmt: skip
    async with running_gateway(outbox, mosquitto, cloud) as line:
        for payload in bad:
            await lanes[0].say(payload)
        async with mosquitto.client() as client:
            await client.publish("barriers/IN-1/reply", b'{"id":"nobody-asked","code":0}', qos=1)
            await client.publish("barriers/IN-1/reply", b"?", qos=1)
        await until(lambda: line.health()[0].malformed == len(bad) + 2)
        standing = await lanes[0].arrive("京A12345")
        await gone(standing.left)
        await until(lambda: told(cloud, "京A12345") == [("passed", "temporary")])


async def test_a_retained_event_opens_nothing(mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox) -> None:
    stale = {"type": "recognised", "id": "old", "plate": "京A00000", "taken_at": 1_764_000_000_000}
    async with mosquitto.client() as client:
        await client.publish("barriers/IN-1/event", msgspec.json.encode(stale), qos=1, retain=True)
    async with running_gateway(outbox, mosquitto, cloud):
        standing = await lanes[0].arrive("京A12345")
        await gone(standing.left)
        await until(lambda: bool(told(cloud, "京A12345")))
    assert told(cloud, "京A00000") == []
    assert len(lanes[0].orders) == 1


async def test_the_line_comes_back_with_its_broker(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud) as line:
        mosquitto.kill()
        await until(lambda: not line.connected)
        offline = await line.execute(cloud.command("lane-in"))
        assert offline.state.value == "failed"
        await mosquitto.start()
        await until(lambda: line.connected)
        standing = await lanes[0].arrive("京A12345")
        await gone(standing.left)
        await until(lambda: told(cloud, "京A12345") == [("passed", "temporary")])


async def test_traffic_enters_and_leaves_when_the_cloud_lets_it(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async def let_everybody_out() -> None:
        done: set[str] = set()
        while True:
            for passage in [p for p in cloud.passages if p.outcome is Outcome.ARRIVED and p.id not in done]:
                done.add(passage.id)
                await cloud.send(codec.encode_command(cloud.command("lane-out", arguments={"passage": passage.id})))
            await asyncio.sleep(0.01)

    traffic = Traffic(lanes[0], lanes[1], seed=7, rate=1_200, stay_s=0.3)
    async with running_gateway(outbox, mosquitto, cloud):
        tasks = [asyncio.ensure_future(traffic.run()), asyncio.ensure_future(let_everybody_out())]
        await until(lambda: traffic.left >= 5)
        await end(*tasks)
    passed = [p for p in cloud.passages if p.outcome is Outcome.PASSED]
    assert len([p for p in passed if p.direction == "exit"]) >= 5
    assert {p.plate for p in passed if p.direction == "exit"} <= {p.plate for p in passed if p.direction == "entry"}


async def test_who_is_not_let_out_makes_way_and_comes_again(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    before = [Vehicle("京A12345", "small"), Vehicle("沪B00001", "small")]
    traffic = Traffic(lanes[0], lanes[1], seed=7, rate=0.001, stay_s=0.1, before=before, exit_patience_s=0.3)
    async with running_gateway(outbox, mosquitto, cloud):
        running = asyncio.ensure_future(traffic.run())
        await until(
            lambda: {p.plate for p in cloud.passages if p.outcome is Outcome.TURNED_BACK} == {"京A12345", "沪B00001"}
        )
        assert traffic.left == 0
        await end(running)


async def test_the_simulated_site_drives_vehicles_in(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        traffic = asyncio.ensure_future(simulate((line_settings(mosquitto),), seed=3, rate=600, stay_s=60))
        await until(lambda: bool(cloud.passages))
        await end(traffic)
    assert cloud.passages[0].direction == "entry"


async def test_a_full_disk_does_not_keep_the_barrier_closed(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        await outbox.run(lambda db: db.execute("PRAGMA max_page_count = 1"))
        with contextlib.suppress(OutboxError):
            while True:
                await outbox.run(lambda db: db.execute("INSERT INTO visit SELECT hex(randomblob(8)), '', '', 0, x''"))
        standing = await lanes[0].arrive("京A12345")
        await gone(standing.left)
        again = await lanes[0].arrive("京A54321")
        await gone(again.left)


async def test_whatever_a_camera_says_of_a_vehicle_the_vehicle_stands_there(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    broken = [
        b'{"type":"recognised"}',
        b'{"type":"recognised","id":"1","plate":"' + b"A" * 17 + b'","taken_at":1764000000000}',
        b'{"type":"recognised","id":"2","plate":"\xe4\xba","taken_at":"yesterday"}',
        b'{"type":"recognised","id":"3","plate":"","taken_at":12,"picture":"no base64"}',
    ]
    async with running_gateway(outbox, mosquitto, cloud) as line:
        for payload in broken:
            await lanes[0].say(payload)
        await until(lambda: len(cloud.passages) == len(broken))
        command = cloud.command("lane-in", arguments={"passage": cloud.passages[-1].id})
        await cloud.send(codec.encode_command(command))
        await until(lambda: cloud.states_of(command)[-1:] == ["done"])
        assert line.health()[0].malformed == 0
    assert {(p.plate, p.decision) for p in cloud.passages} == {("", "no-plate")}
