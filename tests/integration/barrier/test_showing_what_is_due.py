"""The display of a lane: told of the vehicle that stands there, and of nobody before or after it."""

from typing import Any
from uuid import uuid4

from gateway.contract import codec
from gateway.contract.messages import Action, Command
from gateway.drivers.barrier import BarrierLine
from gateway.outbox import Outbox
from simulators.barrier.lane import Lane
from tests.integration.barrier.conftest import running_gateway
from tests.integration.broker import Mosquitto, until
from tests.integration.uplink.cloud import Cloud

Lanes = tuple[Lane, Lane]
PLATE = "京A12345"


def due(cloud: Cloud, passage: str, amount: str = "8.00", device: str = "lane-out", **fields: Any) -> Command:
    told = {"passage": passage, "plate": PLATE, "amount": amount, "currency": "CNY", "minutes": "300"}
    return cloud.command(device, Action.SHOW_DUE, arguments=told, **fields)


def actions(line: BarrierLine) -> dict[str, bool]:
    return {one.device: Action.SHOW_DUE in one.actions for one in line.health()}


async def said(cloud: Cloud, command: Command) -> list[str]:
    """The states of an order that came to its end."""
    await cloud.send(codec.encode_command(command))
    await until(lambda: cloud.states_of(command)[-1:] in (["done"], ["failed"]))
    return cloud.states_of(command)


async def test_who_stands_there_reads_what_is_due_and_the_next_one_nothing_of_it(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud) as line:
        assert actions(line) == {"lane-in": False, "lane-out": True}
        standing = await lanes[1].arrive(PLATE)
        await until(lambda: len(cloud.passages) == 1)
        passage = cloud.passages[0].id
        assert (await said(cloud, due(cloud, passage)))[-1] == "done"
        await until(lambda: lanes[1].display is not None)
        shown = lanes[1].display
        assert shown is not None
        assert (shown.id, shown.plate, shown.amount, shown.currency) == (standing.event_id, PLATE, "8.00", "CNY")
        assert shown.minutes == 300

        await lanes[1].turn_back()
        await until(lambda: cloud.passages[-1].outcome.value == "turned-back")
        await lanes[1].arrive("京B99999")
        await until(lambda: cloud.passages[-1].plate == "京B99999")
        assert (await said(cloud, due(cloud, passage)))[-1] == "failed"
        assert lanes[1].display is None
        assert len(lanes[1].shown) == 1
        assert lanes[1].orders == []


async def test_an_amount_of_before_does_not_come_over_a_newer_one(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        await lanes[1].arrive(PLATE)
        await until(lambda: len(cloud.passages) == 1)
        older = due(cloud, cloud.passages[0].id, "8.00")
        newer = due(cloud, cloud.passages[0].id, "3.00", issued_at=older.issued_at + 5)
        assert (await said(cloud, newer))[-1] == "done"
        assert (await said(cloud, older))[-1] == "failed"
        assert [one.amount for one in lanes[1].shown] == ["3.00"]


async def test_a_lane_that_shows_nothing_says_so_and_is_not_alarmed(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    exit_ = {"device": "lane-out", "sn": "OUT-1", "direction": "exit", "shows_due": False}
    camera = {"device": "camera", "sn": "C5H", "direction": "exit", "dialect": "vzenith"}
    async with running_gateway(outbox, mosquitto, cloud, lanes=[exit_, camera]) as line:
        assert actions(line) == {"lane-out": False, "camera": False}
        for device in ("lane-out", "camera"):
            command = due(cloud, str(uuid4()), device=device)
            assert (await said(cloud, command))[-1] == "failed"
            assert [r.detail for r in cloud.results if r.command_id == command.id][-1].startswith("not supported")
        assert [one.malformed for one in line.health()] == [0, 0]
    assert lanes[1].shown == []


async def test_a_display_in_front_of_which_an_order_is_given_opens_all_the_same(
    mosquitto: Mosquitto, cloud: Cloud, lanes: Lanes, outbox: Outbox
) -> None:
    async with running_gateway(outbox, mosquitto, cloud):
        standing = await lanes[1].arrive(PLATE)
        await until(lambda: len(cloud.passages) == 1)
        passage = cloud.passages[0].id
        assert (await said(cloud, due(cloud, passage)))[-1] == "done"
        opening = cloud.command("lane-out", arguments={"passage": passage})
        await cloud.send(codec.encode_command(opening))
        await until(standing.left.is_set)
        assert lanes[1].display is None
        assert (await said(cloud, due(cloud, passage)))[-1] == "failed"
