"""Commands over a real broker: only the cloud's own, only to us, only in time, only once; each one reported."""

import asyncio
import contextlib
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import pytest
import pytest_asyncio

from gateway.contract import codec
from gateway.contract.messages import Command, CommandState
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox
from gateway.tasks import end
from gateway.uplink import BrokerSettings, LinkState, Uplink
from tests.integration.broker import Mosquitto, until
from tests.integration.uplink.cloud import GATEWAY, PROJECT, Cloud, now_ms

AS_ORDERED = CommandOutcome(CommandState.DONE, "as ordered")


@dataclass
class Gateway:
    """An uplink whose devices do what `outcome` says; `clock_shift_ms` moves its clock."""

    uplink: Uplink
    executed: list[Command] = field(default_factory=list)
    outcome: CommandOutcome = AS_ORDERED
    hold: asyncio.Event = field(default_factory=asyncio.Event)


@contextlib.asynccontextmanager
async def running_gateway(broker: Mosquitto, cloud: Cloud, outbox: Outbox, shift_ms: int = 0) -> AsyncIterator[Gateway]:
    async def execute(command: Command) -> CommandOutcome:
        running.executed.append(command)
        await running.hold.wait()
        return running.outcome

    settings = BrokerSettings(host=broker.host, port=broker.port, resend_after_s=1)
    uplink = Uplink(
        settings, PROJECT, GATEWAY, outbox, execute, cloud_keys=cloud.keys, clock=lambda: now_ms() + shift_ms
    )
    running = Gateway(uplink)
    running.hold.set()
    task = asyncio.ensure_future(uplink.run())
    try:
        await until(lambda: uplink.state is LinkState.ONLINE and uplink.counters.sessions > 0)
        yield running
    finally:
        await end(task)


@pytest_asyncio.fixture
async def gateway(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> AsyncIterator[Gateway]:
    async with running_gateway(mosquitto, cloud, outbox) as running:
        yield running


async def test_a_command_is_executed_and_every_step_reported(cloud: Cloud, gateway: Gateway) -> None:
    command = cloud.command("lane-out", arguments={"passage": str(uuid.uuid4())})
    await cloud.send(codec.encode_command(command))
    await until(lambda: cloud.states_of(command) == ["delivered", "executing", "done"])
    assert gateway.executed == [command]
    assert cloud.results[-1].detail == "as ordered"


async def test_what_the_device_could_not_do_is_reported_as_such(cloud: Cloud, gateway: Gateway) -> None:
    gateway.outcome = CommandOutcome(CommandState.UNCERTAIN, "x" * 2_000)
    command = cloud.command("lane-out")
    await cloud.send(codec.encode_command(command))
    await until(lambda: cloud.states_of(command)[-1:] == ["uncertain"])
    assert len(cloud.results[-1].detail) == 500


@pytest.mark.parametrize(
    ("flaw", "state", "detail"),
    [
        ("tampered", "failed", "signature: does not match"),
        ("unsigned", "failed", "signature: does not match"),
        ("not base64", "failed", "signature: does not match"),
        ("unknown key", "failed", "signature: unknown key k9"),
        ("other gateway", "failed", "address: meant for demo/gw-2"),
        ("other project", "failed", "address: meant for other/gw-1"),
        ("expired", "expired", "expired"),
    ],
)
async def test_what_is_not_an_order_of_our_cloud_in_time_is_refused(
    cloud: Cloud, gateway: Gateway, flaw: str, state: str, detail: str
) -> None:
    good = cloud.command("lane-out")
    bad = {
        "tampered": msgspec.structs.replace(good, device="lane-in"),
        "unsigned": msgspec.structs.replace(good, signature=""),
        "not base64": msgspec.structs.replace(good, signature="签名"),
        "unknown key": cloud.command("lane-out", key_id="k9"),
        "other gateway": cloud.command("lane-out", gateway="gw-2"),
        "other project": cloud.command("lane-out", project="other"),
        "expired": cloud.command("lane-out", issued_at=now_ms() - 60_000, expires_at=now_ms() - 1),
    }[flaw]
    await cloud.send(codec.encode_command(bad))
    await until(lambda: cloud.states_of(bad) == [state])
    assert cloud.results[0].detail.startswith(detail)
    assert gateway.executed == []
    assert gateway.uplink.command_counters.refused == 1


async def test_expiry_is_judged_by_the_clock_that_was_given(mosquitto: Mosquitto, cloud: Cloud, outbox: Outbox) -> None:
    async with running_gateway(mosquitto, cloud, outbox, shift_ms=31_000) as gateway:
        command = cloud.command("lane-out")
        await cloud.send(codec.encode_command(command))
        await until(lambda: cloud.states_of(command) == ["expired"])
        assert gateway.executed == []


async def test_a_repeated_command_is_answered_but_not_executed_again(cloud: Cloud, gateway: Gateway) -> None:
    command = cloud.command("lane-out")
    for expected in (1, 2):
        await cloud.send(codec.encode_command(command))
        await until(lambda wanted=expected: cloud.states_of(command).count("done") == wanted)  # type: ignore[misc]  # bound now
    assert len(gateway.executed) == 1
    forged = msgspec.structs.replace(command, device="lane-in")
    await cloud.send(codec.encode_command(forged))
    await until(lambda: gateway.uplink.command_counters.repeated == 2)
    assert "failed" not in cloud.states_of(command)
    assert len(gateway.executed) == 1


async def test_a_repetition_during_execution_is_not_executed(cloud: Cloud, gateway: Gateway) -> None:
    gateway.hold.clear()
    command = cloud.command("lane-out")
    await cloud.send(codec.encode_command(command))
    await until(lambda: len(gateway.executed) == 1)
    await cloud.send(codec.encode_command(command))
    await until(lambda: gateway.uplink.command_counters.repeated == 1)
    gateway.hold.set()
    await until(lambda: cloud.states_of(command)[-1:] == ["done"])
    assert len(gateway.executed) == 1


async def test_ids_are_remembered_over_a_restart_and_a_cut_off_command_is_uncertain(
    mosquitto: Mosquitto, cloud: Cloud, tmp_path: Path
) -> None:
    path = tmp_path / "kept.db"
    done, cut_off = cloud.command("lane-in"), cloud.command("lane-out")
    outbox = Outbox.open(path, 1 << 26)
    async with running_gateway(mosquitto, cloud, outbox) as first:
        await cloud.send(codec.encode_command(done))
        await until(lambda: cloud.states_of(done)[-1:] == ["done"])
        first.hold.clear()
        await cloud.send(codec.encode_command(cut_off))
        await until(lambda: len(first.executed) == 2)
    outbox.close()

    outbox = Outbox.open(path, 1 << 26)
    async with running_gateway(mosquitto, cloud, outbox) as second:
        await until(lambda: cloud.states_of(cut_off)[-1:] == ["uncertain"])
        for command in (done, cut_off):
            await cloud.send(codec.encode_command(command))
        await until(lambda: second.uplink.command_counters.repeated == 2)
        assert second.executed == []
    outbox.close()


async def test_a_broken_connection_does_not_tear_a_command_apart(
    mosquitto: Mosquitto, cloud: Cloud, gateway: Gateway
) -> None:
    gateway.hold.clear()
    command = cloud.command("lane-out")
    await cloud.send(codec.encode_command(command))
    await until(lambda: len(gateway.executed) == 1)
    mosquitto.kill()
    await until(lambda: gateway.uplink.state is not LinkState.ONLINE)
    gateway.hold.set()
    await mosquitto.start()
    await until(lambda: cloud.states_of(command)[-1:] == ["done"])


async def test_a_flood_of_forgeries_is_counted_but_reported_only_in_part(cloud: Cloud, gateway: Gateway) -> None:
    await cloud.send(b"garbage")
    for _ in range(60):
        await cloud.send(codec.encode_command(msgspec.structs.replace(cloud.command("lane-out"), signature="")))
    await until(lambda: gateway.uplink.command_counters.refused == 60)
    assert gateway.uplink.command_counters.malformed == 1
    await until(lambda: len(cloud.results) == 30)
    assert gateway.executed == []
