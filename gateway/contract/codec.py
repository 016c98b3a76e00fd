"""Bytes on the wire to messages and back, with limits checked before anything is allocated.

A payload is JSON, or zlib-compressed JSON when it is large. The first byte tells which: JSON of ours starts
with `[` (0x5B), a zlib stream with 0x78 (RFC 1950: deflate, 32 KiB window).
"""

import re
import zlib
from collections.abc import Sequence
from typing import Final, TypeVar

import msgspec

from gateway.contract import WIRE_VERSION, limits, stored
from gateway.contract.access import AccessUpdate
from gateway.contract.configuration import (
    Configuration,
    ConfigurationHead,
    ConfigurationReport,
    ConfigurationReports,
)
from gateway.contract.errors import ContractError
from gateway.contract.messages import (
    Ack,
    CloudTime,
    Command,
    CommandHead,
    CommandResult,
    Envelope,
    Gap,
    Gaps,
    Health,
    Healths,
    Passage,
    Passages,
    Point,
    Points,
    Results,
)
from gateway.contract.signing import SignedText
from gateway.contract.topics import Down, Up

T = TypeVar("T")

_JSON_START: Final = 0x5B
_ZLIB_START: Final = 0x78
# Possessive, and without a closing quote if there is none: an unterminated string must not be searched again
# from every quote inside it.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

_encoder = msgspec.json.Encoder()
_envelope = msgspec.json.Decoder(Envelope)
_fields = msgspec.json.Decoder(list[msgspec.Raw])
_integer = msgspec.json.Decoder(int)
_ack = msgspec.json.Decoder(Ack)
_command = msgspec.json.Decoder(Command)
_command_head = msgspec.json.Decoder(CommandHead)
_points: msgspec.json.Decoder[tuple[Point, ...]] = msgspec.json.Decoder(Points)
_passages: msgspec.json.Decoder[tuple[Passage, ...]] = msgspec.json.Decoder(Passages)
_results: msgspec.json.Decoder[tuple[CommandResult, ...]] = msgspec.json.Decoder(Results)
_configuration = msgspec.json.Decoder(Configuration)
_configuration_head = msgspec.json.Decoder(ConfigurationHead)
_time = msgspec.json.Decoder(CloudTime)
_access = msgspec.json.Decoder(AccessUpdate)
_configurations: msgspec.json.Decoder[tuple[ConfigurationReport, ...]] = msgspec.json.Decoder(ConfigurationReports)
_healths: msgspec.json.Decoder[tuple[Health, ...]] = msgspec.json.Decoder(Healths)
_gaps: msgspec.json.Decoder[tuple[Gap, ...]] = msgspec.json.Decoder(Gaps)


def encode_body(
    items: Sequence[Point]
    | Sequence[Passage]
    | Sequence[CommandResult]
    | Sequence[Health]
    | Sequence[Gap]
    | Sequence[ConfigurationReport],
) -> bytes:
    """The JSON array of one batch; `encode_envelope` frames it for the wire."""
    return _encoder.encode(items)


def encode_envelope(epoch: str, seq: int, created_at: int, body: bytes) -> bytes:
    """Wire payload of one batch, whose `body` is JSON or what `stored.pack` made of it.

    Raises ContractError (`too-large`) when it breaks the limits.
    """
    if stored.is_packed(body):
        before = b'[%d,"%s",%d,%d,' % (WIRE_VERSION, epoch.encode(), seq, created_at)
        if len(before) + stored.length(body) + 1 > limits.MAX_DECODED_BYTES:
            raise ContractError("too-large", f"more than {limits.MAX_DECODED_BYTES} bytes of JSON")
        return _bounded(stored.frame(before, body, b"]"))
    return _pack(_encoder.encode(Envelope(WIRE_VERSION, epoch, seq, created_at, msgspec.Raw(body))))


def encode_ack(ack: Ack) -> bytes:
    """Wire payload of an acknowledgement."""
    return _pack(_encoder.encode(ack))


def encode_command(command: Command) -> bytes:
    """Wire payload of a command."""
    return _pack(_encoder.encode(command))


def encode_configuration(configuration: Configuration) -> bytes:
    """Wire payload of a configuration. Raises ContractError (`too-large`)."""
    return _pack(_encoder.encode(configuration))


def encode_access(update: AccessUpdate) -> bytes:
    """Wire payload of a message about vehicles. Raises ContractError (`too-large`): it has to go in more parts."""
    return _pack(_encoder.encode(update))


def encode_time(answer: CloudTime) -> bytes:
    """Wire payload of the cloud's answer to a challenge."""
    return _pack(_encoder.encode(answer))


def decode_envelope(payload: bytes) -> Envelope:
    """Unpacks an uplink message as far as its frame; the body is decoded by its topic's function.

    Raises ContractError; nothing larger than the limits is ever allocated.
    """
    return _decode(_envelope, _version_checked(_unpack(payload)))


def decode_points(body: bytes | msgspec.Raw) -> tuple[Point, ...]:
    """Body of an `up/readings` message."""
    return _decode(_points, body)


def decode_passages(body: bytes | msgspec.Raw) -> tuple[Passage, ...]:
    """Body of an `up/passages` message."""
    return _decode(_passages, body)


def decode_results(body: bytes | msgspec.Raw) -> tuple[CommandResult, ...]:
    """Body of an `up/results` message."""
    return _decode(_results, body)


def decode_health(body: bytes | msgspec.Raw) -> Health:
    """Body of an `up/health` message."""
    return _decode(_healths, body)[0]


def decode_gaps(body: bytes | msgspec.Raw) -> tuple[Gap, ...]:
    """Body of an `up/gaps` message."""
    return _decode(_gaps, body)


def decode_configurations(body: bytes | msgspec.Raw) -> tuple[ConfigurationReport, ...]:
    """Body of an `up/configurations` message."""
    return _decode(_configurations, body)


def check_body(kind: Up, body: bytes) -> None:
    """Raises ContractError unless `body` is acceptable under `kind`; the gateway's own check before it queues."""
    decode = {
        Up.READINGS: decode_points,
        Up.PASSAGES: decode_passages,
        Up.RESULTS: decode_results,
        Up.HEALTH: decode_health,
        Up.GAPS: decode_gaps,
        Up.CONFIGURATIONS: decode_configurations,
    }[kind]
    decode(body)


def decode_ack(payload: bytes) -> Ack:
    """Unpacks a `down/ack` message. Raises ContractError."""
    return _decode(_ack, _version_checked(_unpack(payload)))


def open_signed(kind: Down, payload: bytes) -> SignedText:
    """Unpacks a signed message as far as its elements. Raises ContractError."""
    text = _unpack(payload)
    fields = _decode(_fields, text)
    return SignedText(kind, text, tuple(fields))


def read_command_head(opened: SignedText) -> CommandHead:
    """What is the same in every version of a `down/command` message. Raises ContractError."""
    return _decode(_command_head, opened.text)


def read_command(opened: SignedText) -> Command:
    """A `down/command` message; its signature is not checked here. Raises ContractError."""
    return _decode(_command, _versioned(opened))


def read_configuration_head(opened: SignedText) -> ConfigurationHead:
    """What is the same in every version of a `down/config` message. Raises ContractError."""
    return _decode(_configuration_head, opened.text)


def read_configuration(opened: SignedText) -> Configuration:
    """A `down/config` message; its signature is not checked here. Raises ContractError."""
    return _decode(_configuration, _versioned(opened))


def read_access(opened: SignedText) -> AccessUpdate:
    """A `down/access` message, entries as they were sent; its signature is not checked here. Raises ContractError."""
    return _decode(_access, _versioned(opened))


def read_time(opened: SignedText) -> CloudTime:
    """A `down/time` message; its signature is not checked here. Raises ContractError."""
    return _decode(_time, _versioned(opened))


def decode_command(payload: bytes) -> Command:
    """Unpacks a `down/command` message; its signature is not checked here. Raises ContractError."""
    return read_command(open_signed(Down.COMMAND, payload))


def decode_configuration(payload: bytes) -> Configuration:
    """Unpacks a `down/config` message; its signature is not checked here. Raises ContractError."""
    return read_configuration(open_signed(Down.CONFIG, payload))


def decode_access(payload: bytes) -> AccessUpdate:
    """Unpacks a `down/access` message; its signature is not checked here. Raises ContractError."""
    return read_access(open_signed(Down.ACCESS, payload))


def decode_time(payload: bytes) -> CloudTime:
    """Unpacks a `down/time` message; its signature is not checked here. Raises ContractError."""
    return read_time(open_signed(Down.TIME, payload))


def _pack(text: bytes) -> bytes:
    if len(text) > limits.MAX_DECODED_BYTES:
        raise ContractError("too-large", f"{len(text)} bytes of JSON, at most {limits.MAX_DECODED_BYTES}")
    return _bounded(zlib.compress(text, 6) if len(text) > limits.COMPRESS_ABOVE_BYTES else text)


def _bounded(payload: bytes) -> bytes:
    if len(payload) > limits.MAX_WIRE_BYTES:
        raise ContractError("too-large", f"{len(payload)} bytes, at most {limits.MAX_WIRE_BYTES}")
    return payload


def plain(payload: bytes) -> bytes:
    """JSON text of a payload, inflated if need be; how deep it nests is not looked at. Raises ContractError."""
    if not payload:
        raise ContractError("empty", "no payload")
    if len(payload) > limits.MAX_WIRE_BYTES:
        raise ContractError("too-large", f"{len(payload)} bytes, at most {limits.MAX_WIRE_BYTES}")
    text = payload
    if payload[0] == _ZLIB_START:
        text = _inflate(payload)
    elif payload[0] != _JSON_START:
        raise ContractError("bad-encoding", f"first byte 0x{payload[0]:02x}, expected 0x5b (JSON) or 0x78 (zlib)")
    return text


def _unpack(payload: bytes) -> bytes:
    text = plain(payload)
    if nested_deeper(text, limits.MAX_NESTING):
        raise ContractError("too-deep", f"nested deeper than {limits.MAX_NESTING}")
    return text


def _inflate(payload: bytes) -> bytes:
    inflater = zlib.decompressobj()
    try:
        text = inflater.decompress(payload, limits.MAX_DECODED_BYTES + 1)
    except zlib.error as error:
        raise ContractError("bad-encoding", str(error)) from error
    if len(text) > limits.MAX_DECODED_BYTES:
        raise ContractError("too-large", f"more than {limits.MAX_DECODED_BYTES} bytes after inflating")
    if not inflater.eof or inflater.unused_data:
        raise ContractError("bad-encoding", "zlib stream is cut off or followed by other bytes")
    return text


def nested_deeper(text: bytes, most: int) -> bool:
    """Whether JSON nests deeper than `most`; without recursion: each round removes the innermost pairs of brackets."""
    brackets = _STRING.sub(b"", text).translate(None, _NOT_BRACKETS)
    for _ in range(most):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return b"[]" in brackets or b"{}" in brackets


def _versioned(opened: SignedText) -> bytes:
    _check_version(opened.fields)
    return opened.text


def _version_checked(text: bytes) -> bytes:
    fields = _decode(_fields, text)
    _check_version(fields)
    return text


def _check_version(fields: Sequence[msgspec.Raw]) -> None:
    """Looks at the first field before the others are judged: an unknown version has an unknown schema."""
    if not fields:
        raise ContractError("bad-schema", "empty array, expected a version first")
    version = _decode(_integer, fields[0])
    if version != WIRE_VERSION:
        raise ContractError("unknown-version", f"version {version}, this software speaks {WIRE_VERSION}")


def _decode(decoder: "msgspec.json.Decoder[T]", text: bytes | msgspec.Raw) -> T:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise ContractError("bad-schema", str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ContractError("bad-json", str(error)) from error
    except RecursionError:
        raise ContractError("too-deep", f"nested deeper than {limits.MAX_NESTING}") from None
