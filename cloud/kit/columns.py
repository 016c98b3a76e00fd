"""Whole columns between numpy and PostgreSQL in its binary format: no Python object per row."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.adapt import Dumper
from psycopg.pq import Format

# https://www.postgresql.org/docs/current/sql-copy.html ("Binary Format") and array_send in the server's source:
# integers are big-endian, a timestamptz is microseconds since 2000-01-01 UTC.
_EPOCH_2000_MS: Final = 946_684_800_000
_COPY_HEAD: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_TAIL: Final = b"\xff\xff"

_OIDS: Final = {"int2": (21, 1005), "int4": (23, 1007), "int8": (20, 1016), "timestamptz": (1184, 1185)}
_TYPES: Final = {"int2": ">i2", "int4": ">i4", "int8": ">i8", "timestamptz": ">i8"}


@dataclass(frozen=True, slots=True)
class Int8Column:
    """A bigint[] parameter."""

    values: NDArray[np.int64]

    @classmethod
    def of(cls, values: Collection[int]) -> "Int8Column":
        """Of Python's numbers."""
        return cls(np.fromiter(values, np.int64, len(values)))


@dataclass(frozen=True, slots=True)
class Int2Column:
    """A smallint[] parameter."""

    values: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TimeColumn:
    """A timestamptz[] parameter from milliseconds since 1970."""

    values: NDArray[np.int64]


def _array(kind: str, values: NDArray[np.int64]) -> bytes:
    rows = np.empty(len(values), dtype=[("size", ">i4"), ("value", _TYPES[kind])])
    rows["size"] = np.dtype(_TYPES[kind]).itemsize
    rows["value"] = values
    head = np.array([1, 0, _OIDS[kind][0], len(values), 1], ">i4")
    return head.tobytes() + rows.tobytes()


class _Int8Dumper(Dumper):
    format = Format.BINARY
    oid = _OIDS["int8"][1]

    def dump(self, obj: Int8Column) -> bytes:
        return _array("int8", obj.values)


class _Int2Dumper(Dumper):
    format = Format.BINARY
    oid = _OIDS["int2"][1]

    def dump(self, obj: Int2Column) -> bytes:
        return _array("int2", obj.values)


class _TimeDumper(Dumper):
    format = Format.BINARY
    oid = _OIDS["timestamptz"][1]

    def dump(self, obj: TimeColumn) -> bytes:
        return _array("timestamptz", to_wire_time(obj.values))


def register(conn: psycopg.AsyncConnection[Any]) -> None:
    """Lets `conn` take the columns as parameters."""
    for column, dumper in ((Int8Column, _Int8Dumper), (Int2Column, _Int2Dumper), (TimeColumn, _TimeDumper)):
        conn.adapters.register_dumper(column, dumper)


def to_wire_time(ms: NDArray[np.int64]) -> NDArray[np.int64]:
    """Milliseconds since 1970 to PostgreSQL's microseconds since 2000."""
    return (ms - _EPOCH_2000_MS) * 1000


def from_wire_time(us: NDArray[np.int64]) -> NDArray[np.int64]:
    """PostgreSQL's microseconds since 2000 to milliseconds since 1970."""
    return us // 1000 + _EPOCH_2000_MS


def copy_in(kinds: Sequence[str], columns: Sequence[NDArray[np.int64]]) -> memoryview:
    """The whole input of a COPY … FROM STDIN (FORMAT BINARY) of NOT NULL columns; times as `to_wire_time`."""
    kind_of_row, count = _row_type(kinds), len(columns[0])
    size = len(_COPY_HEAD) + count * kind_of_row.itemsize
    # Filled in where it is sent from: copies of it would cost as much as the columns.
    whole = bytearray(size + len(_COPY_TAIL))
    whole[: len(_COPY_HEAD)], whole[size:] = _COPY_HEAD, _COPY_TAIL
    rows = np.frombuffer(whole, kind_of_row, count, len(_COPY_HEAD))
    rows[:] = _row_without_values(kinds)
    for n, column in enumerate(columns):
        rows[f"value{n}"] = column
    return memoryview(whole)


def _row_without_values(kinds: Sequence[str]) -> np.void:
    row = np.zeros(1, _row_type(kinds))
    row["count"] = len(kinds)
    for n, kind in enumerate(kinds):
        row[f"size{n}"] = np.dtype(_TYPES[kind]).itemsize
    empty: np.void = row[0]
    return empty


def _row_type(kinds: Sequence[str]) -> np.dtype[np.void]:
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for n, kind in enumerate(kinds):
        fields += [(f"size{n}", ">i4"), (f"value{n}", _TYPES[kind])]
    return np.dtype(fields)
