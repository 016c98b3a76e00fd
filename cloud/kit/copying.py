"""Whole columns out of a query and into a table: no message and no Python object per row."""

from collections.abc import Mapping, Sequence
from typing import Final, LiteralString

import numpy as np
from numpy.typing import NDArray

from cloud.kit.columns import copy_in
from cloud.kit.db import Conn

Ints = NDArray[np.int64]

_NAMES: Final[tuple[LiteralString, ...]] = ("c1", "c2", "c3", "c4", "c5", "c6", "c7", "c8")
_ARRAYS: Final[tuple[LiteralString, ...]] = tuple("array_agg(" + name + ")" for name in _NAMES)

# array_send in the server's source: dimensions, flags, type, length, lower bound; then size and value of each element.
_HEAD: Final = 20
_TYPES: Final = {"int2": ">i2", "int4": ">i4", "int8": ">i8", "timestamptz": ">i8"}


async def columns_of(
    conn: Conn, statement: LiteralString, query: Mapping[str, object], kinds: Sequence[str]
) -> list[Ints]:
    """The columns of a SELECT without NULLs, in its order; times as they are on the wire.

    Planned anew each time: where a series is cut into pieces, the planner leaves out those beyond the query's bounds.
    """
    names, arrays = ", ".join(_NAMES[: len(kinds)]), ", ".join(_ARRAYS[: len(kinds)])
    async with conn.cursor(binary=True) as cursor:
        # All parts are literals: their type says so.
        whole: LiteralString = "SELECT " + arrays + " FROM (" + statement + ") AS found (" + names + ")"  # noqa: S608
        await cursor.execute(whole, query, prepare=False)
        assert cursor.pgresult is not None
        return [_decoded(kind, cursor.pgresult.get_value(0, n)) for n, kind in enumerate(kinds)]


def _decoded(kind: str, data: bytes | None) -> Ints:
    if data is None:
        return np.zeros(0, np.int64)
    elements = np.frombuffer(data, np.dtype([("size", ">i4"), ("value", _TYPES[kind])]), offset=_HEAD)
    return elements["value"].astype(np.int64)


async def copy_to(conn: Conn, statement: LiteralString, kinds: Sequence[str], columns: Sequence[Ints]) -> None:
    """Runs a COPY … FROM STDIN (FORMAT BINARY); times as `to_wire_time`."""
    async with conn.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(copy_in(kinds, columns))
