"""Readings from the wire straight into columns, without an object per point.

Only messages in the usual form are read here: exactly the fields of this version of the contract. Whatever else comes,
right or wrong, is left to `gateway.contract.codec`, so that it alone says what is refused and why.
"""

import re
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np

from cloud.metering.readings.intake import PointColumns
from gateway.contract import WIRE_VERSION, codec, limits
from gateway.contract.errors import ContractError

_CODE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_Point = tuple[str, str, int, int, int]
_good_codes: Final[set[str]] = set()
_MOST_GOOD_CODES: Final = 200_000
_message: Final = msgspec.json.Decoder(tuple[int, str, int, int, list[_Point]])


@dataclass(frozen=True, slots=True)
class UsualReadings:
    """Frame and points of an `up/readings` message."""

    epoch: str
    seq: int
    created_ms: int
    points: PointColumns


def read_usual(payload: bytes) -> UsualReadings | None:
    """None when the message is not in the usual form; then the codec has to judge it."""
    try:
        version, epoch, seq, created_ms, points = _message.decode(codec.plain(payload))
        columns = _columns(points) if 1 <= len(points) <= limits.MAX_POINTS_PER_BATCH else None
    except (ContractError, msgspec.MsgspecError, UnicodeError, RecursionError, OverflowError):
        return None
    frame_is_good = (
        version == WIRE_VERSION
        and 1 <= seq <= limits.MAX_VALUE
        and limits.MIN_TIME_MS <= created_ms <= limits.MAX_TIME_MS
        and _UUID.fullmatch(epoch) is not None
    )
    return UsualReadings(epoch, seq, created_ms, columns) if columns is not None and frame_is_good else None


def _columns(points: list[_Point]) -> PointColumns | None:
    """Raises OverflowError when a number does not fit 64 bits."""
    devices, channels, taken, values, qualities = zip(*points, strict=True)
    if not _are_codes({*devices, *channels}):
        return None
    taken_ms, flags = np.array(taken, np.int64), np.array(qualities, np.int64)
    if taken_ms.min() < limits.MIN_TIME_MS or taken_ms.max() > limits.MAX_TIME_MS:
        return None
    if flags.min() < 0 or flags.max() > 0xFF:
        return None
    series: dict[tuple[str, str], int] = {}
    which = [series.setdefault(pair, len(series)) for pair in zip(devices, channels, strict=True)]
    return PointColumns(list(series), np.array(which, np.int64), taken_ms, np.array(values, np.int64), flags)


def _are_codes(found: set[str]) -> bool:
    """A site says the same codes in each message: what was good once is not looked at again."""
    if found <= _good_codes:
        return True
    if not all(len(code) <= limits.MAX_CODE_CHARS and _CODE.fullmatch(code) is not None for code in found):
        return False
    if len(_good_codes) > _MOST_GOOD_CODES:
        _good_codes.clear()
    _good_codes.update(found)
    return True
