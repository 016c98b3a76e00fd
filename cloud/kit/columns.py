"""Whole columns between numpy and PostgreSQL in its binary format: no Python object per row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, LiteralString

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
_ARRAY_HEAD: Final = 20
"""Bytes before the elements of an array of one dimension: dimensions, nulls, type, length, first index."""

_OIDS: Final = {"int2": (21, 1005), "int4": (23, 1007), "int8": (20, 1016), "timestamptz": (1184, 1185)}
_TYPES: Final = {"int2": ">i2", "int4": ">i4", "int8": ">i8", "timestamptz": ">i8"}


@dataclass(frozen=True, slots=True)
class Int8Column:
    """A bigint[] parameter."""

    values: NDArray[np.int64]


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


def copy_in(kinds: Sequence[str], columns: Sequence[NDArray[np.int64]]) -> bytes:
    """The whole input of a COPY … FROM STDIN (FORMAT BINARY) of NOT NULL columns; times as `to_wire_time`."""
    rows = np.empty(len(columns[0]), dtype=_row_type(kinds))
    rows["count"] = len(kinds)
    for n, (kind, column) in enumerate(zip(kinds, columns, strict=True)):
        rows[f"size{n}"] = np.dtype(_TYPES[kind]).itemsize
        rows[f"value{n}"] = column
    return _COPY_HEAD + rows.tobytes() + _COPY_TAIL


def copy_out(kinds: Sequence[str], data: bytes | bytearray) -> list[NDArray[np.int64]]:
    """The columns of a COPY … TO STDOUT (FORMAT BINARY) without NULLs; times as they are on the wire."""
    row_type = _row_type(kinds)
    count = (len(data) - len(_COPY_HEAD) - len(_COPY_TAIL)) // row_type.itemsize
    rows: NDArray[Any] = np.frombuffer(data, dtype=row_type, offset=len(_COPY_HEAD), count=count)
    return [rows[f"value{n}"].astype(np.int64) for n in range(len(kinds))]


async def read_columns(
    conn: psycopg.AsyncConnection[Any], statement: LiteralString, query: Mapping[str, object], kinds: Sequence[str]
) -> list[NDArray[np.int64]]:
    """The arrays of a statement that answers with one row of them: `SELECT array_agg(a), array_agg(b) FROM …`.

    A COPY hands out one Python object per row, which for a million rows takes longer than the server needs to find
    them. Times as they are on the wire; no NULLs in the arrays, a NULL instead of one is empty.
    """
    async with conn.cursor(binary=True) as cursor:
        await cursor.execute(statement, query)
        assert cursor.pgresult is not None
        raw = [cursor.pgresult.get_value(0, n) for n in range(len(kinds))]
    return [_from_array(kind, one) for kind, one in zip(kinds, raw, strict=True)]


def _from_array(kind: str, raw: bytes | None) -> NDArray[np.int64]:
    if raw is None:
        return np.zeros(0, np.int64)
    elements = np.frombuffer(raw, dtype=[("size", ">i4"), ("value", _TYPES[kind])], offset=_ARRAY_HEAD)
    values: NDArray[np.int64] = elements["value"].astype(np.int64)
    return values


def _row_type(kinds: Sequence[str]) -> np.dtype[np.void]:
    fields: list[tuple[str, str]] = [("count", ">i2")]
    for n, kind in enumerate(kinds):
        fields += [(f"size{n}", ">i4"), (f"value{n}", _TYPES[kind])]
    return np.dtype(fields)
