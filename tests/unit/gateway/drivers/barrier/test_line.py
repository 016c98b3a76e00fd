"""The barriers of one broker, without one: what is taken in is bounded, what has expired is not sent."""

import base64
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.drivers.barrier import BarrierLine, BarrierLineSettings
from gateway.drivers.barrier.answers import Answer
from gateway.drivers.barrier.events import Event, KeepAlive, Order, Recognised
from gateway.outbox import Outbox, OutboxError

NOW = 1_764_000_000_000
EVENT = "barriers/IN/event"
JPEG = b"\xff\xd8\xffpicture"


class Broker:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.said: list[bytes] = []

    async def publish(self, topic: str, payload: bytes, qos: int) -> None:
        self.told.append(topic)
        self.said.append(payload)

    def post(self, topic: str, payload: bytes) -> None:
        self.told.append(topic)


@pytest.fixture
async def outbox(tmp_path: Path) -> AsyncIterator[Outbox]:
    opened = Outbox.open(tmp_path / "outbox.sqlite", 1 << 24)
    yield opened
    opened.close()


def line(
    outbox: Outbox, broker: Broker | None = None, clock: Callable[[], int] = lambda: NOW, **lane: object
) -> BarrierLine:
    made = BarrierLine(
        BarrierLineSettings.model_validate({
            "name": "garage", "lot": "lot", "broker": {"host": "b"}, "answer_s": 0.01,
            "lanes": [{"device": "in", "sn": "IN", "direction": "entry", **lane}],
        }),
        outbox,
        clock=clock,
    )  # fmt: skip
    made._client = broker  # type: ignore[assignment]
    return made


def recognised(number: int, picture: bytes = b"") -> bytes:
    event: dict[str, Any] = {"type": "recognised", "id": f"v-{number}", "plate": "京A12345", "taken_at": NOW}
    return json.dumps({**event, "picture": base64.b64encode(picture).decode()}).encode()


async def test_pictures_that_wait_are_few_and_the_vehicles_count_all_the_same(outbox: Outbox) -> None:
    made = line(outbox)
    for number in range(20):
        made._take(EVENT, recognised(number, JPEG))
    waiting = made._ports[0].events
    events = [waiting.get_nowait() for _ in range(waiting.qsize())]
    assert [isinstance(event, Recognised) and bool(event.picture) for event in events] == [True] * 8 + [False] * 12


async def test_a_device_that_floods_is_counted_and_stops_nothing(outbox: Outbox) -> None:
    made = line(outbox)
    for number in range(300):
        made._take(EVENT, recognised(number))
    assert made._ports[0].events.qsize() == 256
    assert made.health()[0].malformed == 44


async def test_an_event_on_which_the_software_fails_ends_no_lane(outbox: Outbox) -> None:
    made = line(outbox)
    port, handled = made._ports[0], []

    async def handle(event: Event) -> None:
        handled.append(event)
        if len(handled) == 1:
            raise KeyError("something nobody thought of")
        if len(handled) == 3:
            raise OutboxError("the file is damaged: the process is to begin anew")

    port.lane.handle = handle  # type: ignore[method-assign]
    for number in range(3):
        made._take(EVENT, recognised(number))
    with pytest.raises(OutboxError):
        await made._work(port)
    assert (len(handled), made.health()[0].malformed) == (3, 1)


@pytest.mark.parametrize("dialect", ["generic-json", "vzenith"])
async def test_an_order_that_has_expired_is_not_sent(outbox: Outbox, dialect: str) -> None:
    broker = Broker()
    made = line(outbox, broker, dialect=dialect)
    port = made._ports[0]
    port.heard_at = float("inf")
    assert await made._ask(port, Order(type="open", id="1", expires_at=NOW)) is Answer.EXPIRED
    assert broker.told == []
    assert await made._ask(port, Order(type="open", id="2", expires_at=NOW + 1)) is Answer.LOST
    assert len(broker.told) == 1
    assert made._awaited == {}


@pytest.mark.parametrize(("set_clock", "told"), [(True, 1), (False, 0)])
async def test_a_clock_is_set_once_in_a_while_and_only_where_that_is_wanted(
    outbox: Outbox, set_clock: bool, told: int
) -> None:
    broker = Broker()
    made = line(outbox, broker, dialect="vzenith", vzenith={"set_clock": set_clock})
    for off in (5_000, 5_001, -90_000):
        made._happened(made._ports[0], KeepAlive(taken_at=NOW + off))
    assert broker.told == ["device/IN/message/down/set_time"] * told


async def ends_at(made: BarrierLine, broker: Broker) -> int:
    """When an order that ends at NOW + 60 s ends by what its device is told."""
    await made._ask(made._ports[0], Order(type="open", id="1", expires_at=NOW + 60_000))
    return int(json.loads(broker.said[-1])["expires_at"])


async def test_a_keep_alive_that_waits_its_turn_makes_no_clock_slow(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise, after an answer that was waited for in vain, the next order is told as one that has expired."""
    passed = 0
    monkeypatch.setattr("gateway.drivers.barrier.device_clock.elapsed_ns", lambda: passed * 1_000_000)
    broker = Broker()
    made = line(outbox, broker, lambda: NOW + passed)
    port = made._ports[0]
    made._happened(port, KeepAlive(taken_at=NOW - 700))
    passed = 30_000
    await port.lane.handle(port.events.get_nowait())
    assert await ends_at(made, broker) == NOW + 60_000 - 700


@pytest.mark.parametrize("set_ms", [-86_400_000, 86_400_000])
async def test_a_clock_here_that_is_set_makes_no_order_expire_earlier_or_later(
    outbox: Outbox, set_ms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The device's clock is right all the while."""
    off = -set_ms
    monkeypatch.setattr("gateway.drivers.barrier.device_clock.elapsed_ns", lambda: 0)
    broker = Broker()
    made = line(outbox, broker, lambda: NOW + off)
    port = made._ports[0]
    port.heard_at = float("inf")
    made._happened(port, KeepAlive(taken_at=NOW))
    await port.lane.handle(port.events.get_nowait())
    off = 0
    assert await ends_at(made, broker) == NOW + 60_000


async def test_no_order_waits_for_a_device_whose_clock_was_ahead(outbox: Outbox) -> None:
    """It is told a later end, by which it would open for nobody once its clock is right."""
    broker = Broker()
    made = line(outbox, broker)
    port = made._ports[0]
    made._happened(port, KeepAlive(taken_at=NOW + 86_400_000))
    await port.lane.handle(port.events.get_nowait())
    order = Order(type="open", id="1", expires_at=NOW + 60_000)
    assert await made._ask(port, order) is Answer.OFFLINE
    assert broker.said == []
    port.heard_at = float("inf")
    assert await made._ask(port, order) is Answer.LOST
    assert len(broker.said) == 1
