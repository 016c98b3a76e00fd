"""How a simulated device puts into words what happens, for each dialect."""

import base64
import time
import uuid
from typing import Any, Final, NamedTuple, Protocol

import msgspec

from gateway.drivers.barrier.dialect import decode_due, decode_order, encode, topics_of
from gateway.drivers.barrier.events import (
    Due,
    Event,
    GateMoved,
    KeepAlive,
    MalformedMessage,
    Order,
    Passed,
    Recognised,
    Reply,
    TurnedBack,
)

_UNKNOWN_COMMAND: Final = 404
_DONE: Final = 200
_OPENING_OUTPUT: Final = 0
_OPEN, _CLOSED, _BETWEEN = 1, 2, 0
_COLOURS: Final = {"new-energy": 5, "large": 2}


class Message(NamedTuple):
    """One MQTT message of a device."""

    topic: str
    payload: bytes


class Heard(NamedTuple):
    """An order as a device takes it; `order` is None for a command that is none to the barrier.

    `due` is what its display shows from now on.
    """

    order: Order | None
    id: str
    known: bool = True
    """False for a word that this firmware does not know."""
    due: Due | None = None


class Speech(Protocol):
    """A dialect, from the side of the device."""

    @property
    def hears(self) -> tuple[str, ...]:
        """Topics on which it is told something."""

    def tell(self, event: Event) -> list[Message]:
        """What it says of an event."""

    def hear(self, topic: str, payload: bytes) -> Heard | None:
        """What it is told; None for what it cannot read."""

    def answer(self, topic: str, heard: Heard, code: int) -> Message | None:
        """Its answer, 0 for done; None when it says nothing."""

    def own(self, payload: bytes) -> Message:
        """Any bytes at all, where events go."""


class GenericSpeech:
    """The generic JSON dialect."""

    def __init__(self, prefix: str, sn: str) -> None:
        self._topics = topics_of(prefix, sn)

    @property
    def hears(self) -> tuple[str, ...]:
        """Orders, and what is to be shown."""
        return (self._topics.command, self._topics.show)

    def tell(self, event: Event) -> list[Message]:
        """One message for each event."""
        return [Message(self._topics.event, encode(event))]

    def hear(self, topic: str, payload: bytes) -> Heard | None:
        """An order, as it stands."""
        try:
            if topic == self._topics.show:
                due = decode_due(payload)
                return Heard(None, due.id, due=due)
            order = decode_order(payload)
        except MalformedMessage:
            return None
        return Heard(order, order.id)

    def answer(self, topic: str, heard: Heard, code: int) -> Message | None:
        """Answers to every order; a display says nothing."""
        if topic == self._topics.show:
            return None
        return Message(self._topics.reply, encode(Reply(id=heard.id, code=code)))

    def own(self, payload: bytes) -> Message:
        """Under `event`."""
        return Message(self._topics.event, payload)


class VzenithSpeech:
    """The VZenith dialect: a quick result, then the same with its picture; a loop behind the barrier at `passed_input`.

    `old` firmware does not know `gate_direct_open` and says so; with `silent` it says nothing.
    """

    def __init__(
        self,
        prefix: str,
        sn: str,
        *,
        passed_input: int = 1,
        old: bool = False,
        silent: bool = False,
    ) -> None:
        self.told: list[str] = []
        """Commands in the order in which they came."""
        self.clock_off_s = 0
        """How far the device's clock is ahead."""
        self.listed: dict[str, tuple[str, str]] = {}
        """Plates for which the device opens on its own, with their times."""
        self._root, self._sn = f"{prefix}/{sn}/message", sn
        self._passed_input, self._old, self._silent = passed_input, old, silent

    @property
    def hears(self) -> tuple[str, ...]:
        """Every command."""
        return (f"{self._root}/down/+",)

    def tell(self, event: Event) -> list[Message]:
        """The events of the device that tell of it."""
        match event:
            case Recognised():
                quick = self._recognition(event, {})
                picture = base64.b64encode(event.picture).decode()
                return [quick, self._recognition(event, {"imageFile": picture})] if picture else [quick]
            case Passed():
                return [self._input(event.taken_at, value) for value in (1, 0)]
            case TurnedBack():
                return []  # nothing tells it
            case GateMoved():
                state = {True: _OPEN, False: _CLOSED, None: _BETWEEN}[event.is_open]
                body = {"gate_ctrl_id": 0, "gate_status": state, "connect_status": 1, "enable": 1}
                return [self._up("barr_gate_status", event.taken_at, body)]
            case KeepAlive():
                return [self._up("keep_alive", event.taken_at, {"timestamp": event.taken_at // 1000})]

    def hear(self, topic: str, payload: bytes) -> Heard | None:
        """Orders of both generations, the clock."""
        try:
            envelope: Any = msgspec.json.decode(payload)
        except msgspec.DecodeError:
            return None
        command = topic.rsplit("/", 1)[-1]
        self.told.append(command)
        never = 1 << 62
        body = envelope["payload"]["body"]
        match command:
            case "gate_direct_open":
                return Heard(Order(type="open", id=envelope["id"], expires_at=never), envelope["id"], not self._old)
            case "gpio_out":
                kind = "open" if body["io"] == _OPENING_OUTPUT else "close"
                return Heard(Order(type=kind, id=envelope["id"], expires_at=never), envelope["id"])  # type: ignore[arg-type]
            case "set_time":
                self.clock_off_s = body["timestamp"] - int(time.time())
                return Heard(None, envelope["id"])
            case "white_list_operator":
                self._change_list(body)
                return Heard(None, envelope["id"])
            case _:
                return Heard(None, envelope["id"], known=False)

    def _change_list(self, body: Any) -> None:
        if body["operator_type"] == "delete":
            self.listed.pop(body["plate"], None)
            return
        for record in body["dldb_rec"]:
            self.listed[record["plate"]] = (record["enable_time"], record["overdue_time"])

    def answer(self, topic: str, heard: Heard, code: int) -> Message | None:
        """With its own codes."""
        if not heard.known and self._silent:
            return None
        said = _UNKNOWN_COMMAND if not heard.known else code or _DONE
        body = {"id": heard.id, "sn": self._sn, "name": topic.rsplit("/", 1)[-1], "version": "1.0", "code": said}
        return Message(
            f"{topic}/reply", msgspec.json.encode({**body, "timestamp": self._seconds(None), "payload": None})
        )

    def own(self, payload: bytes) -> Message:
        """As a recognition."""
        return Message(f"{self._root}/up/ivs_result", payload)

    def _recognition(self, event: Recognised, more: dict[str, Any]) -> Message:
        result = {
            "license": base64.b64encode((event.plate or "_无_").encode()).decode(),
            "confidence": event.score // 10,
            "colorType": _COLOURS.get(event.vehicle_class, 1),
            "triggerType": 8,
            "isoffline": int(event.offline),
            "start_time": self._seconds(event.taken_at),
            "unique_id": event.id,
            **more,
        }
        return self._up("ivs_result", event.taken_at, {"AlarmInfoPlate": {"result": {"PlateResult": result}}})

    def _input(self, at: int, value: int) -> Message:
        trigger = {"source": self._passed_input, "value": value}
        return self._up("gpio_in", at, {"AlarmGioIn": {"result": {"TriggerResult": trigger}}})

    def _up(self, name: str, at: int, body: dict[str, Any]) -> Message:
        envelope = {
            "id": uuid.uuid4().hex, "sn": self._sn, "name": name, "version": "1.0", "timestamp": self._seconds(at),
            "payload": {"type": name, "body": body},
        }  # fmt: skip
        return Message(f"{self._root}/up/{name}", msgspec.json.encode(envelope))

    def _seconds(self, at: int | None) -> int:
        return (int(time.time()) if at is None else at // 1000) + self.clock_off_s
