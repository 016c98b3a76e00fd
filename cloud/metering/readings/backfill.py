"""History into `store.reading`: what people import, and what a gateway kept for days."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from cloud.kit.db import Conn
from cloud.metering.readings.storing import Mask, Outcome, Rows, store_rows

MAX_ROWS: Final = 50_000
"""Of one statement: what comes in more rows is stored part by part, in the same transaction."""


@dataclass(frozen=True, slots=True)
class HistoryColumns:
    """Readings of one project, column by column; all columns have one length.

    meters: ids; channels: numbers of quantities; taken_ms: ms since 1970; values: base unit of the channel, before
    the multiplier; qualities: sums of `Quality` flags.
    """

    project_id: int
    meters: NDArray[np.int64]
    channels: NDArray[np.int64]
    taken_ms: NDArray[np.int64]
    values: NDArray[np.int64]
    qualities: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HistoryResult:
    """What became of each row, in the order given: exactly one of the three is true."""

    stored: Mask
    repeated: Mask
    """The same reading is there already."""
    revised: Mask
    """Another value is there at this time and stays; this one is kept beside it."""


async def store_history(conn: Conn, columns: HistoryColumns) -> HistoryResult:
    """Stores readings once, however often they come, and marks the usage that follows from them as outdated.

    The caller has checked that the meters are of the project and may be written by whoever asks; `conn` acts as
    `gatemeter_worker` or `gatemeter_ingest`, the only ones that reach `store.reading`. Of several
    rows with one key the first counts. Ask for usage afterwards (`metering.service.ask_for_usage`).
    """
    size = len(columns.meters)
    rows = Rows(
        columns.meters,
        columns.channels,
        columns.taken_ms,
        columns.values,
        columns.qualities,
        np.full(size, columns.project_id, np.int64),
    )
    # In the order of time, so that every part fills one stretch of the table and no two imports wait crosswise.
    order = np.argsort(rows.taken_ms, kind="stable")
    parts = [order[start : start + MAX_ROWS] for start in range(0, size, MAX_ROWS)]
    result = HistoryResult(np.zeros(size, np.bool_), np.zeros(size, np.bool_), np.zeros(size, np.bool_))
    for part in parts:
        _note(result, part, await store_rows(conn, rows.at(part), expect_new=False))
    return result


def _note(result: HistoryResult, part: NDArray[np.int64], outcome: Outcome) -> None:
    result.stored[part] = outcome.stored
    result.repeated[part] = outcome.repeated
    result.revised[part] = outcome.revised
