"""COPY of whole columns, out of a query and into a table."""

from collections.abc import Mapping, Sequence
from typing import LiteralString

import numpy as np
from numpy.typing import NDArray

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn, copy_in, copy_out
from cloud.kit.db import Conn

Ints = NDArray[np.int64]


async def copy_from(
    conn: Conn, statement: LiteralString, query: Mapping[str, object], kinds: Sequence[str]
) -> list[Ints]:
    """The columns of a COPY … TO STDOUT (FORMAT BINARY) without NULLs; times as they are on the wire.

    COPY takes no parameters, so that they are written into the statement: columns of `kit.columns` as text, which the
    statement casts to its type of array.
    """
    data = bytearray()
    written = {name: _as_text(value) for name, value in query.items()}
    async with conn.cursor() as cursor, cursor.copy(statement, written) as copy:
        async for block in copy:
            data += block
    return copy_out(kinds, data)


async def copy_to(conn: Conn, statement: LiteralString, kinds: Sequence[str], columns: Sequence[Ints]) -> None:
    """Runs a COPY … FROM STDIN (FORMAT BINARY); times as `to_wire_time`."""
    async with conn.cursor() as cursor, cursor.copy(statement) as copy:
        await copy.write(copy_in(kinds, columns))


def _as_text(value: object) -> object:
    if isinstance(value, TimeColumn):
        return "{" + ",".join(np.datetime_as_string(value.values.astype("datetime64[ms]"), timezone="UTC")) + "}"
    if isinstance(value, Int8Column | Int2Column):
        return "{" + ",".join(map(str, value.values.tolist())) + "}"
    return value
