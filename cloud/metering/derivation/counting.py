"""Counting the rows that a derivation adds, instead of the triggers that count what everybody else adds."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, LiteralString

import numpy as np

from cloud.kit.columns import Int2Column, Int8Column, TimeColumn
from cloud.kit.db import Conn
from cloud.metering.derivation.reads import Registers
from cloud.metering.derivation.usage import Ints, Rows, shaped
from cloud.metering.records import MEDIA
from cloud.metering.rollups.counting import Sums, by_day, by_hour, by_month, over_registers

_COUNTS_ITSELF: Final[LiteralString] = "SET LOCAL gm.counts_itself = 'on'"
_COUNTS_NO_MORE: Final[LiteralString] = "SET LOCAL gm.counts_itself = 'off'"
_ADD_HOURS: LiteralString = """
    SELECT gm.add_hours(%(projects)s, %(media)s, %(channels)s, %(starts)s, %(sums)s, %(top_sums)s)
"""
_ADD_DAYS: LiteralString = """
    SELECT gm.add_days(%(step)s, %(meters)s, %(channels)s, %(days)s, %(projects)s, %(quantities)s, %(counts)s,
                       %(covered)s, %(estimated)s)
"""


@asynccontextmanager
async def counted_by_the_writer(conn: Conn) -> AsyncIterator[None]:
    """Rows that are added meanwhile are not counted by triggers: whoever adds them calls `count`, in this transaction.

    After an error there is nothing left to set: the transaction is over.
    """
    await conn.execute(_COUNTS_ITSELF)
    yield
    await conn.execute(_COUNTS_NO_MORE)


async def count(conn: Conn, registers: Registers, rows: Rows, which: Ints) -> None:
    """Adds some of the rows, by register and start, to the sums of hours, days and months. A local hour holds each."""
    if not len(which):
        return
    series, seconds = rows.series[which], rows.length_ms[which] // 1000
    estimated = np.where(shaped(rows.method[which]), seconds, 0)
    each = Sums(
        series, registers.zone[series], rows.start_ms[which], rows.quantity[which], np.ones(len(which), np.int64),
        seconds, estimated,
    )  # fmt: skip
    hours = by_hour(each, registers.zones)
    await _add_hours(conn, registers, hours)
    days = by_day(hours, registers.zones)
    await _add_days(conn, registers, "day", days)
    await _add_days(conn, registers, "month", by_month(days))


async def _add_hours(conn: Conn, registers: Registers, hours: Sums) -> None:
    names = np.stack([registers.project, registers.medium, registers.channel], axis=1)
    kinds, kind = np.unique(names, axis=0, return_inverse=True)
    which, starts, sums, top_sums = over_registers(hours, kind.reshape(-1), registers.top)
    query = {
        "projects": Int8Column(kinds[which, 0]),
        "media": [MEDIA[n] for n in kinds[which, 1].tolist()],
        "channels": Int2Column(kinds[which, 2]),
        "starts": TimeColumn(starts),
        "sums": Int8Column(sums),
        "top_sums": Int8Column(top_sums),
    }
    await conn.execute(_ADD_HOURS, query)


async def _add_days(conn: Conn, registers: Registers, step: str, sums: Sums) -> None:
    query = {
        "step": step,
        **registers.keys(sums.register),
        "days": Int8Column(sums.begin),
        "projects": Int8Column(registers.project[sums.register]),
        "quantities": Int8Column(sums.quantity),
        "counts": Int8Column(sums.rows),
        "covered": Int8Column(sums.covered_s),
        "estimated": Int8Column(sums.estimated_s),
    }
    await conn.execute(_ADD_DAYS, query)
