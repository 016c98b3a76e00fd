"""SenML (RFC 8428) in JSON and CBOR to resolved records; pure and strict, exact from the wire to the record."""

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal, Inexact, InvalidOperation
from typing import Final, TypeAlias

from gateway.contract.codec import nested_deeper
from gateway.drivers.coap import cbor
from gateway.drivers.coap.errors import BadPayload, PayloadTooLarge

JSON: Final = 110
"""Content format application/senml+json."""
CBOR: Final = 112
"""Content format application/senml+cbor."""

MAX_BYTES: Final = 64 * 1024
MAX_RECORDS: Final = 2_000
MAX_NAME_CHARS: Final = 256
MAX_UNIT_CHARS: Final = 32
_MAX_NUMBER_CHARS: Final = 64
_MAX_VERSION: Final = 10
_RELATIVE_BELOW: Final = 2**28
"""Times below are seconds from now, the others seconds since 1970."""

EXACT: Final = Context(prec=2_500, traps=[Inexact, InvalidOperation])
"""Sums and products of any numbers that the decoders let through fit; were one not to, it would raise, not round."""

Value: TypeAlias = Decimal | str | bool | bytes | None
_Fields: TypeAlias = Mapping[str, "cbor.Item"]

_LABELS: Final = {
    -6: "bs", -5: "bv", -4: "bu", -3: "bt", -2: "bn", -1: "bver",
    0: "n", 1: "u", 2: "v", 3: "vs", 4: "vb", 5: "s", 6: "t", 7: "ut", 8: "vd",
}  # fmt: skip
_KNOWN: Final = frozenset(_LABELS.values())
_REGULAR: Final = frozenset(("n", "u", "v", "vs", "vb", "vd", "s", "t", "ut"))
_NUMBERS: Final = frozenset(("bt", "bv", "bs", "v", "s", "t", "ut"))
_LONGEST: Final = {"bn": MAX_NAME_CHARS, "n": MAX_NAME_CHARS, "bu": MAX_UNIT_CHARS, "u": MAX_UNIT_CHARS}
# A leading "/" is against the RFC, but LwM2M devices name their resources so.
_NAME: Final = re.compile(r"[A-Za-z0-9:./_-]+")


@dataclass(frozen=True, slots=True)
class Record:
    """One measurement with all base fields applied. At least one of `value` and `sum` is there."""

    name: str
    """Base name and name together."""
    local: str
    """The name without the base name."""
    unit: str
    """As the device wrote it; empty when it named none."""
    at_ms: int
    """Milliseconds since 1970 by the device's clock; by the receiver's when the device gave a time relative to now."""
    absolute: bool
    """Whether the device's own clock said so."""
    value: Value
    """A number may be NaN or infinite."""
    sum: Decimal | None = None
    """Integral of the value over time, in `unit` times seconds."""


def decode(payload: bytes, content_format: int, now_ms: int) -> list[Record]:
    """The records of a pack, in its order; `now_ms` is when it arrived. Raises BadPayload, PayloadTooLarge."""
    if len(payload) > MAX_BYTES:
        raise PayloadTooLarge("payload", f"at most {MAX_BYTES} bytes")
    pack = _json(payload) if content_format == JSON else cbor.decode(payload)
    if not isinstance(pack, list):
        raise BadPayload("payload", "an array of records")
    if len(pack) > MAX_RECORDS:
        raise PayloadTooLarge("payload", f"at most {MAX_RECORDS} records")
    bases: dict[str, cbor.Item] = {}
    records: list[Record] = []
    for number, item in enumerate(pack):
        place = f"record {number}"
        if not isinstance(item, dict):
            raise BadPayload(place, "a map of labels")
        fields = dict(_checked(place, _labelled(place, item, content_format), content_format))
        bases.update((label, value) for label, value in fields.items() if label not in _REGULAR)
        # A record of base fields alone measures nothing: some devices begin with one.
        if not fields or fields.keys() & _REGULAR:
            records.append(_resolved(place, fields, bases, now_ms))
    return records


def _json(payload: bytes) -> "cbor.Item":
    if nested_deeper(payload, cbor.MAX_NESTING):
        raise BadPayload("payload", f"nesting of at most {cbor.MAX_NESTING}")
    try:
        parsed: cbor.Item = json.loads(
            payload.decode("utf-8"),
            parse_float=_json_number,
            parse_int=_json_number,
            parse_constant=_no_constant,
            object_pairs_hook=_json_object,
        )
    except UnicodeDecodeError:
        raise BadPayload("payload", "text in UTF-8") from None
    except json.JSONDecodeError as error:
        raise BadPayload(f"character {error.pos}", "JSON") from None
    return parsed


def _json_number(text: str) -> Decimal:
    try:
        number = Decimal(text) if len(text) <= _MAX_NUMBER_CHARS else None
    except InvalidOperation:
        number = None
    if number is None or abs(int(number.as_tuple().exponent)) > cbor.MAX_EXPONENT:
        raise BadPayload(f"number {text[:20]}", f"at most {_MAX_NUMBER_CHARS} characters, exponent {cbor.MAX_EXPONENT}")
    return number


def _no_constant(text: str) -> Decimal:
    raise BadPayload(f"number {text}", "a JSON number")


def _json_object(pairs: Sequence[tuple[str, "cbor.Item"]]) -> dict[str, "cbor.Item"]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadPayload(f"object with {', '.join(map(ascii, list(found)[:5]))}", "each label once")
    return found


def _labelled(place: str, item: Mapping[int | str, "cbor.Item"], form: int) -> dict[str, "cbor.Item"]:
    """The known fields by their JSON labels. Others are ignored unless they must be understood."""
    fields: dict[str, cbor.Item] = {}
    for key, value in item.items():
        label = _LABELS.get(key) if isinstance(key, int) else key
        if label is None:
            continue
        if label.endswith("_"):
            raise BadPayload(f"{place} {label[:40]!a}", "no label that must be understood and is unknown here")
        if form == CBOR and isinstance(key, str) and label in _KNOWN:
            raise BadPayload(f"{place} {label!a}", "the integer label of CBOR")
        if label in _KNOWN:
            fields[label] = value
    return fields


def _checked(place: str, fields: _Fields, form: int) -> Iterable[tuple[str, "cbor.Item"]]:
    """Each field with a value of its type: numbers as Decimal, data as bytes."""
    for label, value in fields.items():
        where = f"{place} {label}"
        if label in _NUMBERS:
            yield label, _number(where, value, finite=label != "v")
        elif label == "bver":
            version = _number(where, value, finite=True)
            if version % 1 or not 1 <= version <= _MAX_VERSION:
                raise BadPayload(where, f"a version from 1 to {_MAX_VERSION}")
            yield label, version
        elif label == "vb":
            if not isinstance(value, bool):
                raise BadPayload(where, "true or false")
            yield label, value
        elif label == "vd":
            yield label, _data(where, value, form)
        else:
            if not isinstance(value, str) or len(value) > _LONGEST.get(label, MAX_BYTES):
                raise BadPayload(where, f"text of at most {_LONGEST.get(label, MAX_BYTES)} characters")
            yield label, value


def _number(where: str, value: "cbor.Item", finite: bool) -> Decimal:
    if type(value) is int:
        return Decimal(value)
    if not isinstance(value, Decimal) or (finite and not value.is_finite()):
        raise BadPayload(where, "a number")
    return value


def _data(where: str, value: "cbor.Item", form: int) -> bytes:
    if form == CBOR and isinstance(value, bytes):
        return value
    if form == JSON and isinstance(value, str):
        try:
            return base64.b64decode(value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4), b"-_", validate=True)
        except (binascii.Error, ValueError):
            pass
    raise BadPayload(where, "bytes" if form == CBOR else "bytes in base64url")


def _resolved(place: str, fields: _Fields, bases: _Fields, now_ms: int) -> Record:
    local = _text(fields, "n")
    name = _text(bases, "bn") + local
    if not _NAME.fullmatch(name) or len(name) > MAX_NAME_CHARS:
        raise BadPayload(f"{place} n", f"1 to {MAX_NAME_CHARS} of letters, digits, '-', ':', '.', '/', '_', with bn")
    given = [label for label in ("v", "vs", "vb", "vd") if label in fields]
    if len(given) > 1 or (not given and "s" not in fields):
        raise BadPayload(place, f"exactly one of v, vs, vb, vd, or an s; found {', '.join(given) or 'none'}")
    value: Value = None
    if given:
        value = _plus(fields, "v", bases, "bv") if given == ["v"] else fields[given[0]]  # type: ignore[assignment]  # checked
    time = _plus(fields, "t", bases, "bt")
    relative = time < _RELATIVE_BELOW
    milliseconds = int(EXACT.multiply(time, Decimal(1_000)).to_integral_value(ROUND_HALF_EVEN))
    return Record(
        name=name,
        local=local,
        unit=_text(fields, "u") or _text(bases, "bu"),
        at_ms=milliseconds + now_ms if relative else milliseconds,
        absolute=not relative,
        value=value,
        sum=_plus(fields, "s", bases, "bs") if "s" in fields else None,
    )


def _text(fields: _Fields, label: str) -> str:
    value = fields.get(label, "")
    return value if isinstance(value, str) else ""


def _plus(fields: _Fields, label: str, bases: _Fields, base: str) -> Decimal:
    """The sum of a field and its base; a missing one counts as 0. NaN and infinities stay what they are."""
    value, added = fields.get(label, _ZERO), bases.get(base, _ZERO)
    assert isinstance(value, Decimal)
    assert isinstance(added, Decimal)
    return EXACT.add(value, added) if value.is_finite() else value


_ZERO: Final = Decimal(0)
