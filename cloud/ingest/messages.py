"""From bytes on a topic to something that can be stored, or to the reason why not."""

import time
import zlib
from dataclasses import dataclass

import msgspec

from cloud.ingest.columnar import read_usual
from cloud.metering.readings.intake import PointColumns, to_columns
from gateway.contract import codec, limits, topics
from gateway.contract.configuration import ConfigurationReport
from gateway.contract.errors import ContractError
from gateway.contract.messages import CommandResult, Gap, Health, Passage
from gateway.contract.topics import Up, UpAddress


@dataclass(frozen=True, slots=True)
class Passages:
    """Content of `up/passages`."""

    items: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class Results:
    """Content of `up/results`."""

    items: tuple[CommandResult, ...]


@dataclass(frozen=True, slots=True)
class Gaps:
    """Content of `up/gaps`."""

    items: tuple[Gap, ...]


@dataclass(frozen=True, slots=True)
class Configurations:
    """Content of `up/configurations`."""

    items: tuple[ConfigurationReport, ...]


Content = PointColumns | Passages | Results | Health | Gaps | Configurations

_frame = msgspec.json.Decoder(list[msgspec.Raw])
_text = msgspec.json.Decoder(str)
_number = msgspec.json.Decoder(int)


@dataclass(frozen=True, slots=True)
class Sender:
    """Whom an acknowledgement of a batch is for: project and gateway code, and the outbox file's epoch."""

    project: str
    gateway: str
    epoch: str


@dataclass(frozen=True, slots=True)
class Incoming:
    """A message that keeps the contract."""

    topic: str
    payload: bytes
    address: UpAddress
    sender: Sender
    seq: int
    created_ms: int
    received_ms: int
    content: Content


@dataclass(frozen=True, slots=True)
class Refused:
    """A message that breaks the contract. `sender` and `seq` are known when its frame could still be read."""

    topic: str
    payload: bytes
    reason: str
    detail: str
    address: UpAddress | None
    sender: Sender | None
    seq: int


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def read(topic: str, payload: bytes, received_ms: int) -> Incoming | Refused:
    """Decodes one message; raises nothing that a message could cause."""
    address: UpAddress | None = None
    try:
        address = topics.parse_up(topic)
        if address.kind is Up.READINGS:
            usual = read_usual(payload)
            if usual is not None:
                known = Sender(address.project, address.gateway, usual.epoch)
                return Incoming(topic, payload, address, known, usual.seq, usual.created_ms, received_ms, usual.points)
        envelope = codec.decode_envelope(payload)
        return Incoming(
            topic,
            payload,
            address,
            Sender(address.project, address.gateway, envelope.epoch),
            envelope.seq,
            envelope.created_at,
            received_ms,
            _content(address.kind, envelope.body),
        )
    except ContractError as error:
        epoch, seq = _frame_of(payload)
        sender = None if address is None or epoch is None else Sender(address.project, address.gateway, epoch)
        detail = error.detail[: limits.MAX_TEXT_CHARS]
        return Refused(topic, payload[: limits.MAX_WIRE_BYTES], error.reason, detail, address, sender, seq)


def _content(kind: Up, body: msgspec.Raw) -> Content:
    match kind:
        case Up.READINGS:
            return to_columns(codec.decode_points(body))
        case Up.PASSAGES:
            return Passages(codec.decode_passages(body))
        case Up.RESULTS:
            return Results(codec.decode_results(body))
        case Up.HEALTH:
            return codec.decode_health(body)
        case Up.GAPS:
            return Gaps(codec.decode_gaps(body))
        case Up.CONFIGURATIONS:
            return Configurations(codec.decode_configurations(body))


def _frame_of(payload: bytes) -> tuple[str | None, int]:
    """Epoch and sequence number of a message that broke the contract elsewhere: (None, 0) when they cannot be told.

    Their places (second and third field) are the same in every version of the contract.
    """
    if len(payload) > limits.MAX_WIRE_BYTES:
        return None, 0
    try:
        text = payload
        if payload[:1] == b"\x78":
            text = zlib.decompressobj().decompress(payload, limits.MAX_DECODED_BYTES)
        fields = _frame.decode(text)
        epoch, seq = _text.decode(fields[1]), _number.decode(fields[2])
    except (zlib.error, msgspec.MsgspecError, UnicodeError, RecursionError, IndexError):
        return None, 0
    if len(epoch) != len("00000000-0000-0000-0000-000000000000") or not 1 <= seq <= limits.MAX_VALUE:
        return None, 0
    return epoch, seq
