"""Doing an import: the rows of the file understood, judged and stored, portion by portion; safe to break off anywhere.

Every portion is one transaction. What is understood or answered stays so, and a run that begins again goes on there:
the outcome is the one of a run that was never broken off.
"""

from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from itertools import islice
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from cloud.estate import service as estate
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.periods import in_ms
from cloud.kit.tables import Table, TableRow, row_of
from cloud.metering import service
from cloud.metering.assets import registers
from cloud.metering.imports import repository
from cloud.metering.imports.judging import Answer, Around, InForce, Judging, NewReading, Row
from cloud.metering.imports.neighbours import stored_around
from cloud.metering.imports.records import ReadingImport
from cloud.metering.imports.rows import KnownMeter, Reading, Rows
from cloud.metering.imports.table import names_of, read_table
from cloud.metering.readings.backfill import HistoryColumns, store_history
from cloud.metering.readings.neighbours import Register, is_judged
from cloud.metering.records import Meter, MeterRegister
from gateway.contract.messages import Quality
from gateway.contract.quantities import BY_NUMBER

PORTION: Final = 20_000
"""Rows of one transaction."""

_FOREVER_MS: Final = 7_258_118_400_000
"""2200-01-01: no reading is later."""

Progress = Callable[[int, int], Awaitable[None]]
"""Told how many rows are done, of how many."""


async def run_import(db: Database, asker: Asker, import_id: int, progress: Progress | None = None) -> ReadingImport:
    """Does what is left of an import; a dry run stores nothing and only says what would happen.

    A file that cannot be read as a whole ends as `failed` with the reason. Raises NotFound.
    """
    work = _Work(db, asker, import_id, progress)
    try:
        await work.load()
    except InvalidInput as error:
        async with db.transaction(asker) as conn:
            await repository.refuse(conn, import_id, error.code, error.detail)
    else:
        finished = False
        while not finished:
            await work.understand_new()
            finished = await work.judge()
    async with db.transaction(asker) as conn:
        return await _of(conn, import_id)


async def _of(conn: Conn, import_id: int, *, locked: bool = False) -> ReadingImport:
    found = await repository.get(conn, import_id, locked=locked)
    if found is None:
        raise NotFound("no-import", f"there is no import {import_id}", field="import_id")
    return found


class _Work:
    """One run over one import."""

    def __init__(self, db: Database, asker: Asker, import_id: int, progress: Progress | None) -> None:
        self._db = db
        self._asker = asker
        self._id = import_id
        self._progress = progress

    async def load(self) -> None:
        """Rows of the file into the table of rows. Raises InvalidInput when the file cannot be read."""
        async with self._db.transaction(self._asker) as conn:
            made = await _of(conn, self._id, locked=True)
            await repository.begin(conn, self._id)
            if made.loaded:
                return
            table = read_table(await repository.content(conn, self._id))
            await repository.set_header(conn, self._id, table.header)
            there = await repository.last_line(conn, self._id)
        await self._load_rows(made, table, there)

    async def _load_rows(self, made: ReadingImport, table: Table, there: int) -> None:
        """All rows are understood again, also those that are there: a row is placed by the ones before it."""
        rows: Rows | None = None
        for portion in _portions(table.rows):
            async with self._db.transaction(self._asker) as conn:
                rows = await _rows_of(conn, made, portion, rows)
                understood = [rows.understand(row) for row in portion]
                await repository.add_rows(conn, made, [row for row in understood if row.line > there])
                await repository.count(conn, self._id)
        async with self._db.transaction(self._asker) as conn:
            await repository.set_loaded(conn, self._id)

    async def understand_new(self) -> None:
        """Rows that are to be looked at again, as far as the project knows their meters now."""
        rows: Rows | None = None
        while True:
            async with self._db.transaction(self._asker) as conn:
                made = await _of(conn, self._id, locked=True)
                found = await repository.new_rows(conn, self._id, PORTION)
                if not found:
                    return
                names = names_of(made.header)
                portion = [row_of(line, raw, names) for line, raw in found]
                rows = await _rows_of(conn, made, portion, rows)
                await repository.keep_understood(conn, self._id, [rows.understand(row) for row in portion])

    async def judge(self) -> bool:
        """Answers what waits, register by register, and stores what is good.

        Returns whether nothing is left: rows may have been asked to be looked at again meanwhile.
        """
        judging: Judging | None = None
        last: Row | None = None
        done = 0
        while True:
            async with self._db.transaction(self._asker) as conn:
                made = await _of(conn, self._id, locked=True)
                portion = await repository.in_series(conn, self._id, last, PORTION)
                if not portion:
                    return await self._finish(conn, made)
                judging = judging or Judging(Decimal(made.opening or 0))
                await self._judge_portion(conn, made, judging, portion)
                last, done = portion[-1], done + len(portion)
                await repository.count(conn, self._id)
            if self._progress is not None:
                await self._progress(min(done, made.rows), made.rows)

    async def _judge_portion(self, conn: Conn, made: ReadingImport, judging: Judging, portion: Sequence[Row]) -> None:
        around = await _around(conn, portion)
        for row in portion:
            judging.judge(row, around)
        answers, readings = judging.taken()
        if not made.dry_run:
            late = await _store(conn, made, readings)
            answers = [_too_late(one) if one.line in late else one for one in answers]
        await repository.keep_answers(conn, self._id, answers)

    async def _finish(self, conn: Conn, made: ReadingImport) -> bool:
        if await repository.is_unfinished(conn, self._id):
            return False
        await repository.finish(conn, self._id)
        if not made.dry_run:
            await service.ask_for_usage(conn)
        return True


def _portions(rows: Iterator[TableRow]) -> Iterator[list[TableRow]]:
    while portion := list(islice(rows, PORTION)):
        yield portion


async def _rows_of(conn: Conn, made: ReadingImport, portion: Sequence[TableRow], before: Rows | None) -> Rows:
    """What understands these rows: knows the meters that they name, and goes on from the rows before."""
    project = await estate.get_project(conn, made.project_id)
    codes = {row.cells.get("meter", "") for row in portion} - {""}
    serials = {row.cells.get("serial", "") for row in portion} - {""}
    by_code, by_serial = await _meters(conn, made.project_id, codes, serials)
    zone = ZoneInfo(made.time_zone) if made.time_zone else project.zone
    how = Reading(made.kind, zone, datetime.now(UTC), made.stamped, made.interval_s)
    return Rows(how, by_code, by_serial) if before is None else before.knowing(by_code, by_serial)


async def _meters(
    conn: Conn, project_id: int, codes: Iterable[str], serials: Iterable[str]
) -> tuple[dict[str, KnownMeter], dict[str, list[KnownMeter]]]:
    named = await repository.meters_named(conn, project_id, codes, serials)
    ids = {row["id"] for row in named}
    meters = await service.meters_by_id(conn, ids)
    history = await registers.registers_of(conn, ids)
    by_code: dict[str, KnownMeter] = {}
    by_serial: dict[str, list[KnownMeter]] = {}
    for meter_id, meter in meters.items():
        known = KnownMeter(meter, history[meter_id])
        by_code[meter.code] = known
        for serial in {one.serial for one in known.registers}:
            by_serial.setdefault(serial, []).append(known)
    return by_code, by_serial


async def _around(conn: Conn, portion: Sequence[Row]) -> Around:
    """The registers in force of waiting rows, and what is stored at and around their ends."""
    waiting = [row for row in portion if row.outcome == "waiting"]
    ids = {row.meter_id for row in waiting}
    history, meters = await registers.registers_of(conn, ids), await service.meters_by_id(conn, ids)
    in_force: dict[int, InForce] = {}
    wanted: dict[tuple[int, int, int], tuple[int, int]] = {}
    for row in waiting:
        register = _in_force(meters[row.meter_id], history[row.meter_id], row)
        if register is None:
            continue
        in_force[row.line] = register
        ends = [row.taken_ms] if row.until_ms is None else [row.taken_ms, min(row.until_ms, register.until_ms - 1)]
        for ms in ends:
            wanted[(*row.series, ms)] = register.from_ms, register.until_ms
    return Around(await stored_around(conn, wanted), in_force)


def _in_force(meter: Meter, history: Sequence[MeterRegister], row: Row) -> InForce | None:
    """The register of a row; None when it was taken back since the row was understood."""
    for register in history:
        until = _FOREVER_MS if register.valid_until is None else in_ms(register.valid_until)
        if in_ms(register.valid_from) <= row.taken_ms < until:
            opening, closing = register.ends.get(row.channel, (None, None))
            return InForce(
                in_ms(register.valid_from), until, Register(register.modulus, register.max_per_hour),
                is_judged(BY_NUMBER[row.channel], meter), opening, closing,
            )  # fmt: skip
    return None


async def _store(conn: Conn, made: ReadingImport, readings: Sequence[NewReading]) -> set[int]:
    """Stores readings; returns the lines of those for whose instant somebody else stored another value meanwhile."""
    if not readings:
        return set()
    meters, channels, times, values = (
        np.array([getattr(one, name) for one in readings], np.int64) for name in ("meter_id", "channel", "ms", "value")
    )
    qualities = np.full(len(readings), int(Quality.MANUAL), np.int64)
    result = await store_history(conn, HistoryColumns(made.project_id, meters, channels, times, values, qualities))
    believed = [(one.line, one.ms) for one in readings if one.believed]
    if believed:
        await repository.believe(conn, made.id, believed)
    return {readings[nth].line for nth in np.flatnonzero(result.revised).tolist()}


def _too_late(answer: Answer) -> Answer:
    detail = "another value was stored for this instant meanwhile: change it with an edit"
    return replace(answer, outcome="other-value", code="other-value", detail=detail, register=None)
