"""The dialect of VZenith (臻识) cameras and barriers over MQTT, version 1.1.

Everything comes in one envelope, `{id, sn, name, version, timestamp, payload: {type, body}}`, times in seconds:

- `<prefix>/<sn>/message/up/ivs_result`: a plate was read. The body holds `AlarmInfoPlate.result.PlateResult` with
  `license` (base64 of UTF-8, `_无_` for none), `confidence` in percent, `triggerType`, `isoffline`, `start_time`,
  `unique_id`. A quick result without pictures comes first, on this topic or as `quick_ivs_result`; the same with
  `imageFile` (base64) follows.
- `.../up/keep_alive`, `.../up/gpio_in` (an input changed), `.../up/barr_gate_status` (the boom moved).
- `<prefix>/<sn>/message/down/<command>` is answered under `.../down/<command>/reply` with the same `id` and `code`
  200. `gate_direct_open` is unknown to firmware before 1.1.14: `gpio_out` closes the contact of an output for `delay`
  milliseconds instead.

Orders carry no expiry. They go with QoS 0 to a device that is heard of: a broker must not keep one for later.
"""

import base64
import binascii
from typing import Annotated, Any, Final, TypeVar

import msgspec
from msgspec import Meta

from gateway.drivers.barrier.events import (
    CannotSay,
    Due,
    GateMoved,
    Heard,
    KeepAlive,
    Listing,
    MalformedMessage,
    Order,
    Passed,
    Recognised,
    Reply,
    Telegram,
)
from gateway.drivers.barrier.settings import VzenithSettings

T = TypeVar("T")

_MAX_BYTES: Final = 4 << 20
_DONE: Final = 200
_UNKNOWN_COMMAND: Final = frozenset({404, 405, 501})
_PULSE: Final = 2
_SECONDS_END: Final = 100_000_000_000
_NO_PLATE: Final = frozenset({"_无_", "无", "无牌车"})
_GREEN: Final = 5
"""`colorType` of plates of new-energy vehicles."""
_YELLOW: Final = 2
_NOT_TEXT: Final = "\N{REPLACEMENT CHARACTER}"
_UP: Final = ("ivs_result", "quick_ivs_result", "keep_alive", "gpio_in", "barr_gate_status")
_COMMANDS: Final = ("gate_direct_open", "gpio_out", "set_time", "white_list_operator")
_GATE_STATES: Final = {1: True, 2: False}


class Envelope(msgspec.Struct, frozen=True):
    """The frame of every message, both ways. `code` is of answers."""

    id: Annotated[str, Meta(min_length=1, max_length=64)] = "-"
    sn: str = ""
    name: str = ""
    version: str = "1.0"
    timestamp: int = 0
    code: int = 0
    payload: Any = None
    """`{type, body}`; some firmware puts what belongs into the body beside it."""


class PlateResult(msgspec.Struct, frozen=True):
    """One recognition. Every field may be anything: what cannot be used is not used."""

    license: object = ""
    confidence: object = 0
    trigger_type: object = msgspec.field(default=0, name="triggerType")
    color_type: object = msgspec.field(default=0, name="colorType")
    isoffline: object = 0
    start_time: object = 0
    unique_id: object = ""
    image: object = msgspec.field(default="", name="imageFile")


class TriggerResult(msgspec.Struct, frozen=True):
    """An input changed."""

    source: int
    value: int


class GateStatus(msgspec.Struct, frozen=True):
    """The boom moved: 1 is up, 2 is down."""

    gate_status: int = 0


_envelope = msgspec.json.Decoder(Envelope)


class VzenithDialect:
    """One device that speaks it."""

    max_bytes = _MAX_BYTES
    queues_orders = False
    sends_pictures_later = True
    shows_due = False
    """Its cameras pass bytes to a board on their serial port (`serial_data`); what bytes, each maker says otherwise."""

    def __init__(self, prefix: str, sn: str, settings: VzenithSettings) -> None:
        self._root = f"{prefix}/{sn}/message"
        self._sn = sn
        self._settings = settings
        self._direct = settings.opens_by != "gpio_out"

    @property
    def listens(self) -> tuple[str, ...]:
        """Topics of the device."""
        answers = (f"{self._root}/down/{command}/reply" for command in _COMMANDS)
        return (*(f"{self._root}/up/{name}" for name in _UP), *answers)

    def decode(self, topic: str, payload: bytes) -> Heard | None:
        """One message of the device; None for inputs that mean nothing. Raises MalformedMessage."""
        try:
            envelope = _envelope.decode(payload.decode("utf-8", "replace"))
        except (msgspec.DecodeError, RecursionError) as error:
            raise MalformedMessage(str(error)) from error
        if envelope.sn not in ("", self._sn):
            raise MalformedMessage(f"it is of {envelope.sn[:64]}, another device")
        if topic.endswith("/reply"):
            return Reply(id=envelope.id, code=0 if envelope.code == _DONE else envelope.code or -1)
        at = _in_ms(envelope.timestamp)
        body = _body_of(envelope.payload)
        match topic.rsplit("/", 1)[-1]:
            case "keep_alive":
                return KeepAlive(taken_at=at)
            case "ivs_result" | "quick_ivs_result":
                return _recognised(
                    _inside(body, PlateResult, "AlarmInfoPlate", "result", "PlateResult"), envelope.id, at
                )
            case "gpio_in":
                return self._passed(_inside(body, TriggerResult, "AlarmGioIn", "result", "TriggerResult"), at)
            case _:
                return GateMoved(taken_at=at, is_open=_GATE_STATES.get(_inside(body, GateStatus).gate_status))

    def encode(self, order: Order | Listing | Due) -> Telegram:
        """Raises CannotSay when no output closes the barrier, and for what is due."""
        if isinstance(order, Due):
            raise CannotSay("this device shows nothing")
        if isinstance(order, Listing):
            return self._telegram("white_list_operator", order.id, _record(order))
        if order.type == "open" and self._direct:
            return self._telegram("gate_direct_open", order.id, {})
        output = self._settings.open_output if order.type == "open" else self._settings.close_output
        if output is None:
            raise CannotSay("no output of this device closes the barrier")
        body = {"io": output, "value": _PULSE, "delay": self._settings.pulse_ms}
        return self._telegram("gpio_out", order.id, body)

    def another_way(self, reply: Reply) -> bool:
        """Old firmware says that it does not know the direct command. Silence says nothing: it may have opened."""
        if not self._direct or self._settings.opens_by != "auto" or reply.code not in _UNKNOWN_COMMAND:
            return False
        self._direct = False
        return True

    def set_time(self, message_id: str, now: int) -> Telegram:
        """Sets the clock of the device to `now` (Unix milliseconds)."""
        return self._telegram("set_time", message_id, {"timestamp": now // 1000}, now)

    def _passed(self, trigger: TriggerResult, at: int) -> Passed | None:
        """The loop behind the barrier falls back when the vehicle has left it."""
        behind = trigger.source == self._settings.passed_input and trigger.value == 0
        return Passed(taken_at=at) if behind else None

    def _telegram(self, command: str, message_id: str, body: dict[str, Any], now: int = 0) -> Telegram:
        envelope = {
            "id": message_id, "sn": self._sn, "name": command, "version": "1.0", "timestamp": now // 1000,
            "payload": {"type": command, "body": body},
        }  # fmt: skip
        return Telegram(f"{self._root}/down/{command}", msgspec.json.encode(envelope), 0)


def _body_of(payload: Any) -> Any:
    if not isinstance(payload, dict):
        return None
    body = payload.get("body")
    return body if isinstance(body, dict) else payload


def _inside(body: Any, kind: type[T], *path: str) -> T:
    for name in path:
        body = body.get(name) if isinstance(body, dict) else None
    try:
        return msgspec.convert(body, kind)
    except msgspec.ValidationError as error:
        raise MalformedMessage(str(error)) from error


def _recognised(result: PlateResult, envelope_id: str, at: int) -> Recognised:
    started = result.start_time if isinstance(result.start_time, int) and result.start_time > 0 else 0
    own = result.unique_id if isinstance(result.unique_id, str | int) else ""
    # Quick and imaged result have envelopes of their own: what is the same in both names the recognition.
    # A device that does not count says 0: it would name all vehicles alike.
    event_id = (str(own) if own else "") or (f"start-{started}" if started else envelope_id)
    confidence = result.confidence if isinstance(result.confidence, int) else 0
    return Recognised(
        id=event_id[:64],
        plate=_plate(result.license),
        taken_at=_in_ms(started) or at,
        score=min(max(confidence, 0), 100) * 10,
        vehicle_class={_GREEN: "new-energy", _YELLOW: "large"}.get(_number(result.color_type), "small"),
        picture=_picture(result.image),
        offline=result.isoffline in (1, True),
    )


def _record(order: Listing) -> dict[str, Any]:
    if not order.until:
        return {"operator_type": "delete", "plate": order.plate}
    times = {"enable_time": order.since, "overdue_time": order.until}
    record = {"plate": order.plate, "enable": 1, "need_alarm": 0, "time_seg_enable": 0, **times}
    return {"operator_type": "update_or_add", "dldb_rec": [record]}


def _in_ms(told: int) -> int:
    """Seconds since 1970; what would be the year 5138 is told in milliseconds already."""
    return told * 1000 if abs(told) < _SECONDS_END else told


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def _plate(license_: object) -> str:
    """The plate; what is no base64 of UTF-8 gives a sign that no plate holds."""
    if not isinstance(license_, str):
        return _NOT_TEXT
    try:
        plate = base64.b64decode(license_, validate=True).decode("utf-8", "replace").rstrip("\0")
    except (binascii.Error, ValueError):
        return _NOT_TEXT
    return "" if plate in _NO_PLATE else plate


def _picture(image: object) -> bytes:
    """A picture that cannot be decoded is none: the vehicle counts, not its picture."""
    if not isinstance(image, str) or not image:
        return b""
    try:
        return base64.b64decode(image, validate=True)
    except (binascii.Error, ValueError):
        return b""
