"""TLS on a real broker: who is not what his certificate must say is not spoken to, and the reason is told."""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.contract import WIRE_VERSION, codec, topics
from gateway.contract.messages import Ack, Command
from gateway.contract.topics import Down, Up
from gateway.drivers.base import CommandOutcome
from gateway.outbox import Outbox
from gateway.tasks import end
from gateway.uplink import Backoff, BrokerSettings, LinkState, Uplink
from tests.integration.broker import Mosquitto, Tls, running_mosquitto, until
from tests.integration.certificates import Authority
from tests.integration.uplink.cloud import GATEWAY, PROJECT, now_ms


@pytest.fixture
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    folder = tmp_path_factory.mktemp("ca")
    # Started as root, mosquitto changes to its own user, who must reach the files.
    for parent in (folder, *list(folder.parents)[:2]):
        parent.chmod(0o755)
    return Authority(folder, "our-authority")


@pytest.fixture
def box(tmp_path: Path) -> Iterator[Outbox]:
    outbox = Outbox.open(tmp_path / "outbox.sqlite", 1 << 24)
    yield outbox
    outbox.close()


async def no_commands(command: Command) -> CommandOutcome:
    raise AssertionError(f"unexpected {command}")


@contextlib.asynccontextmanager
async def uplink_to(broker: Mosquitto, outbox: Outbox, **settings: object) -> AsyncIterator[Uplink]:
    """An uplink that wants TLS; it connects to the name `localhost`."""
    wanted = {"host": "localhost", "port": broker.port, "tls": True, "resend_after_s": 0.5, **settings}
    uplink = Uplink(
        BrokerSettings.model_validate(wanted), PROJECT, GATEWAY, outbox, no_commands,
        backoff=Backoff(0.05, 0.2, random.Random(1)),
    )  # fmt: skip
    running = asyncio.ensure_future(uplink.run())
    try:
        yield uplink
    finally:
        await end(running)


@contextlib.asynccontextmanager
async def broker_of(
    authority: Authority, host: str = "localhost", days: int = 30, *, mutual: bool = False
) -> AsyncIterator[Mosquitto]:
    cert, key = authority.issue(f"broker-{host}", host, days)
    async with running_mosquitto(tls=Tls(cert, key, authority.ca if mutual else None)) as broker:
        yield broker


async def delivered(broker: Mosquitto, outbox: Outbox, uplink: Uplink) -> None:
    """A batch that the broker shows is acknowledged over the same connection and freed."""
    await until(lambda: uplink.state is LinkState.ONLINE)
    assert uplink.trouble == ""
    seq = await outbox.put(Up.HEALTH, b"[]")
    await until(lambda: uplink.counters.sent == 1)
    # The uplink subscribes to all that is meant for it: what it sends there itself comes back.
    ack = codec.encode_ack(Ack(WIRE_VERSION, outbox.epoch, (seq,)))
    assert uplink._session is not None
    uplink._session._client.post(topics.down(PROJECT, GATEWAY, Down.ACK), ack)
    await until(lambda: uplink.counters.accepted == 1)
    assert (await outbox.stats()).rows == 0
    assert now_ms() > 0


async def test_batches_go_over_tls(authority: Authority, box: Outbox) -> None:
    async with broker_of(authority) as broker, uplink_to(broker, box, ca_file=authority.ca) as uplink:
        await delivered(broker, box, uplink)


async def test_batches_go_over_tls_with_a_client_certificate(authority: Authority, box: Outbox) -> None:
    cert, key = authority.issue("gateway")
    async with (
        broker_of(authority, mutual=True) as broker,
        uplink_to(broker, box, ca_file=authority.ca, cert_file=cert, key_file=key) as uplink,
    ):
        await delivered(broker, box, uplink)


async def refused(uplink: Uplink, reason: str) -> None:
    """The session never begins, however often it is tried, and `reason` is told."""
    failures: set[str] = set()

    def tried() -> bool:
        failures.add(uplink.trouble)
        return uplink._backoff.failures >= 3

    await until(tried)
    assert uplink.counters.sessions == 0
    assert uplink.counters.sent == 0
    assert any(reason in failure for failure in failures), failures


async def test_a_broker_of_another_authority_is_refused(authority: Authority, box: Outbox, tmp_path: Path) -> None:
    other = Authority(tmp_path, "somebody-else")
    async with broker_of(authority) as broker, uplink_to(broker, box, ca_file=other.ca) as uplink:
        await box.put(Up.HEALTH, b"[]")
        await refused(uplink, "certificate verify failed")


async def test_a_broker_with_an_expired_certificate_is_refused(authority: Authority, box: Outbox) -> None:
    async with broker_of(authority, days=-1) as broker, uplink_to(broker, box, ca_file=authority.ca) as uplink:
        await box.put(Up.HEALTH, b"[]")
        await refused(uplink, "certificate has expired")


async def test_a_broker_of_another_name_is_refused(authority: Authority, box: Outbox) -> None:
    async with (
        broker_of(authority, host="broker.example") as broker,
        uplink_to(broker, box, ca_file=authority.ca) as uplink,
    ):
        await box.put(Up.HEALTH, b"[]")
        await refused(uplink, "Hostname mismatch")


async def test_a_broker_without_tls_is_refused(authority: Authority, box: Outbox) -> None:
    async with running_mosquitto() as broker, uplink_to(broker, box, ca_file=authority.ca) as uplink:
        await box.put(Up.HEALTH, b"[]")
        await refused(uplink, "")
        assert uplink.trouble


@pytest.mark.parametrize(
    ("which", "reason"),
    [("none", "certificate required"), ("of another authority", "unknown ca"), ("expired", "expired")],
)
async def test_a_gateway_without_a_good_certificate_is_refused(
    authority: Authority, box: Outbox, tmp_path: Path, which: str, reason: str
) -> None:
    made = {
        "none": None,
        "of another authority": Authority(tmp_path, "somebody-else").issue("gateway"),
        "expired": authority.issue("old-gateway", days=-1),
    }[which]
    given = {} if made is None else {"cert_file": made[0], "key_file": made[1]}
    async with (
        broker_of(authority, mutual=True) as broker,
        uplink_to(broker, box, ca_file=authority.ca, **given) as uplink,
    ):
        await box.put(Up.HEALTH, b"[]")
        await refused(uplink, reason)
