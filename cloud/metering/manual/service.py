"""Readings that people type in: checked against their neighbours, stored once, never over another value."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import LiteralString
from zoneinfo import ZoneInfo

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.periods import day_start, from_ms, in_ms
from cloud.metering import service
from cloud.metering.edits import service as edits
from cloud.metering.edits.service import NewEdit
from cloud.metering.imports.rows import FUTURE, in_base_unit
from cloud.metering.manual import photos
from cloud.metering.readings import neighbours, neighbours_repository
from cloud.metering.readings.neighbours import Candidate, Question
from cloud.metering.readings.neighbours_repository import Around
from cloud.metering.records import Meter, belongs_to
from gateway.contract.quantities import BY_NUMBER, Kind, Quantity

_STORE: LiteralString = """
    SELECT stored FROM gm.store_manual_readings(
        %(meters)s::bigint[], %(channels)s::smallint[], %(times)s::timestamptz[], %(values)s::bigint[])
"""
# Typed twice: who was first.
_KEEP_ENTRY: LiteralString = """
    INSERT INTO reading_entry (project_id, meter_id, channel, taken_at, note, actor)
    VALUES (%(project_id)s, %(meter_id)s, %(channel)s, %(taken_at)s, %(note)s, %(actor)s) ON CONFLICT DO NOTHING
"""
_ENTRIES: LiteralString = """
    SELECT taken_at, note, actor FROM reading_entry
    WHERE meter_id = %(meter_id)s AND channel = %(channel)s AND taken_at >= %(start)s AND taken_at <= %(end)s
"""


@dataclass(frozen=True, slots=True)
class ManualReading:
    """A checked reading; `value` in the base unit of the channel, before the multiplier."""

    meter_id: int
    channel: int
    taken_at: datetime
    value: int


@dataclass(frozen=True, slots=True)
class Confirmation:
    """Somebody's word that a doubtful value is what the register shows."""

    reason: str
    actor: str


@dataclass(frozen=True, slots=True)
class Entry:
    """Who typed a reading in, and what he wrote beside it."""

    taken_at: datetime
    note: str
    actor: str


@dataclass(frozen=True, slots=True)
class Looked:
    """A checked reading with what is stored around it, and what is doubtful about it."""

    meter: Meter
    reading: ManualReading
    around: Around
    question: Question | None
    zone: ZoneInfo


async def read_typed(
    conn: Conn, meter_id: int, text: str, taken_at: datetime, unit: str = "", channel: Quantity | None = None
) -> Looked:
    """A reading as somebody read it off, and whether it fits; `unit`: the one people use when empty. Stores nothing.

    Raises InvalidInput (value, unit, channel, taken_at), NotFound.
    """
    meter = await service.get_meter(conn, meter_id)
    quantity = channel or meter.main_channel
    value = base_value(text, unit, quantity, meter)
    return await look(conn, meter, ManualReading(meter_id, quantity.number, taken_at, value))


async def look(conn: Conn, meter: Meter, reading: ManualReading) -> Looked:
    """What is around a reading, and whether it fits. Raises InvalidInput (channel, taken_at)."""
    project = await estate.get_project(conn, meter.project_id)
    check_channel(BY_NUMBER[reading.channel], meter)
    check_time(reading.taken_at, day_start(meter.installed_on, project.zone), datetime.now(UTC))
    found = (await neighbours_repository.around(conn, [(meter.id, reading.channel, reading.taken_at)]))[0]
    if found.register is None:
        raise InvalidInput("no-register-then", "expected a time when the meter had a register", field="taken_at")
    return Looked(meter, reading, found, _question(meter, reading, found), project.zone)


async def enter(
    conn: Conn,
    looked: Looked,
    actor: str,
    *,
    note: str = "",
    photo: bytes | None = None,
    confirmed: Confirmation | None = None,
) -> ManualReading:
    """Stores one reading as `store` does, with who typed it in and the photo he took.

    Raises as `store`, and InvalidInput (photo).
    """
    stored = await store(conn, looked, confirmed)
    query = {"project_id": looked.meter.project_id, "meter_id": stored.meter_id, "channel": stored.channel}
    await conn.execute(_KEEP_ENTRY, {**query, "taken_at": stored.taken_at, "note": note, "actor": actor})
    if photo is not None:
        await photos.keep(conn, looked.meter, stored.channel, stored.taken_at, photo, actor)
    return stored


async def store(conn: Conn, looked: Looked, confirmed: Confirmation | None = None) -> ManualReading:
    """Stores one reading that was looked at; twice is once.

    Raises Conflict `backward` or `maximum` when it does not fit its neighbours and nobody confirmed it: confirmed, it
    is stored together with an edit `use`, so that usage believes it. Raises Conflict `other-value` when another value
    is stored for this instant: it stays, and the way to another one is an edit.
    """
    meter, reading = looked.meter, looked.reading
    quantity = BY_NUMBER[reading.channel]
    if looked.around.there not in (None, reading.value):
        raise _other_value(looked.around.there, quantity)
    if looked.question is not None and confirmed is None:
        raise Conflict(looked.question.doubt, asked(looked.question, quantity, looked.zone), field="value")
    stored = (await store_all(conn, [reading]))[0]
    if stored != reading.value:  # somebody was faster
        raise _other_value(stored, quantity)
    if looked.question is not None and confirmed is not None:
        await edits.add_edit(
            conn, NewEdit(meter.id, reading.channel, reading.taken_at, "use", confirmed.reason, confirmed.actor)
        )
    await service.ask_for_usage(conn)
    return reading


async def store_all(conn: Conn, readings: Sequence[ManualReading]) -> list[int]:
    """Stores checked readings in one statement; answers with the value in force for each, in their order."""
    query = {
        "meters": [one.meter_id for one in readings],
        "channels": [one.channel for one in readings],
        "times": [one.taken_at for one in readings],
        "values": [one.value for one in readings],
    }
    return [row["stored"] for row in await (await conn.execute(_STORE, query)).fetchall()]


async def entries(conn: Conn, meter_id: int, channel: int, start: datetime, end: datetime) -> dict[datetime, Entry]:
    """Who typed in which of the readings taken in [start, end]."""
    query = {"meter_id": meter_id, "channel": channel, "start": start, "end": end}
    rows = await (await conn.execute(_ENTRIES, query)).fetchall()
    return {row["taken_at"]: Entry(**row) for row in rows}


async def doubts(
    conn: Conn, meters: Sequence[Meter], readings: Sequence[ManualReading]
) -> list[tuple[Around, Question | None]]:
    """For each of many readings what is around it and what is doubtful; they are neighbours of each other as well.

    `meters`: the meter of each reading. Nothing is doubtful where no register is in force.
    """
    found = await neighbours_repository.around(conn, [(one.meter_id, one.channel, one.taken_at) for one in readings])
    judged = [
        (nth, candidate)
        for nth, (meter, reading, one) in enumerate(zip(meters, readings, found, strict=True))
        if (candidate := _candidate(meter, reading, one)) is not None
    ]
    answers: list[Question | None] = [None] * len(readings)
    for (nth, _), answer in zip(judged, neighbours.questions([one for _, one in judged]), strict=True):
        answers[nth] = answer
    return list(zip(found, answers, strict=True))


def confirmation(reason: str, actor: str) -> Confirmation:
    """Somebody's word for a doubtful value. Raises InvalidInput without a reason."""
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason", field="reason")
    return Confirmation(reason.strip(), actor)


def check_channel(quantity: Quantity, meter: Meter) -> None:
    """Raises InvalidInput for a channel that a meter of this medium does not have."""
    if not belongs_to(quantity, meter.medium):
        detail = f"expected a channel of {meter.medium} such as {meter.main_channel.code}, found {quantity.code}"
        raise InvalidInput("wrong-channel", detail, field="channel")


def check_time(taken_at: datetime, installed: datetime, now: datetime) -> None:
    """Raises InvalidInput for a time in the future or before the meter was there."""
    if taken_at > now + FUTURE:
        raise InvalidInput("in-future", "expected a time that has come", field="taken_at")
    if taken_at < installed:
        raise InvalidInput("before-installation", f"expected a time from {installed.isoformat()} on", field="taken_at")


def base_value(text: str, unit: str, quantity: Quantity, meter: Meter) -> int:
    """A register value in the base unit.

    Raises InvalidInput: a channel of another medium, no number, other unit, too fine, beyond the register.
    """
    check_channel(quantity, meter)
    value = in_base_unit(text, unit, quantity)
    if quantity.kind is Kind.CUMULATIVE and value >= meter.modulus:
        raise InvalidInput("beyond-register", "expected a value that the register can show", field="value")
    return value


def asked(question: Question, quantity: Quantity, zone: ZoneInfo) -> str:
    """The question as a sentence, with the neighbour and what would have been expected."""
    at = from_ms(question.neighbour.time_ms).astimezone(zone).isoformat(timespec="seconds")
    neighbour = f"{_shown(question.neighbour.value, quantity)} at {at}"
    if question.doubt == "backward":
        side = "lower than the reading before" if question.side == "before" else "higher than the reading after"
        said = f"{side}: {neighbour}"
    else:
        step = "from the reading before" if question.side == "before" else "to the reading after"
        said = f"advances more than the meter can {step}: {neighbour}"
    if question.low is None or question.high is None:
        expected = "no value fits both neighbours"
    else:
        expected = f"expected {_shown(question.low, quantity)} to {_shown(question.high, quantity)}"
    return f"{said}; {expected}; if the register shows it, repeat with confirm and a reason"


def _question(meter: Meter, reading: ManualReading, found: Around) -> Question | None:
    candidate = _candidate(meter, reading, found)
    # What is stored already is a matter of edits.
    return None if candidate is None or found.there is not None else neighbours.question(candidate)


def _candidate(meter: Meter, reading: ManualReading, found: Around) -> Candidate | None:
    """The reading as the rule looks at it; None where the rule says nothing about it."""
    if (
        found.register is None
        or found.register_id is None
        or not neighbours.is_judged(BY_NUMBER[reading.channel], meter)
    ):
        return None
    series = (meter.id, reading.channel, found.register_id)
    return Candidate(series, in_ms(reading.taken_at), reading.value, found.register, found.before, found.after)


def _other_value(stored: int | None, quantity: Quantity) -> Conflict:
    shown = "" if stored is None else _shown(stored, quantity)
    return Conflict("other-value", f"{shown} is stored for this instant: change it with an edit", field="value")


def _shown(value: int, quantity: Quantity) -> str:
    return f"{Decimal(value).scaleb(quantity.display_exponent):f} {quantity.display_unit}".strip()
