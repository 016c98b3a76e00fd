"""Readings that people type in or import: checked value by value, stored once, never over another value."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final, LiteralString

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.periods import day_start
from cloud.metering import service
from cloud.metering.import_table import number
from cloud.metering.records import Meter
from gateway.contract.quantities import EXPONENT_OF_PREFIXED_UNIT, Kind, Quantity

FUTURE: Final = timedelta(minutes=5)
"""How far ahead of now a reading may be stamped: clocks of people are not ours."""

_STORE: LiteralString = """
    SELECT stored FROM gm.store_manual_readings(
        %(meters)s::bigint[], %(channels)s::smallint[], %(times)s::timestamptz[], %(values)s::bigint[])
"""


@dataclass(frozen=True, slots=True)
class ManualReading:
    """A checked reading; `value` in the base unit of the channel, before the multiplier."""

    meter_id: int
    channel: int
    taken_at: datetime
    value: int


async def store_manual(
    conn: Conn, meter_id: int, text: str, taken_at: datetime, unit: str = "", channel: Quantity | None = None
) -> ManualReading:
    """Stores one reading as staff read it off, in `unit` (the one people use when empty); twice is once.

    Raises InvalidInput (value, unit, taken_at), NotFound, and Conflict when another value is stored for this instant:
    it stays, and the way to another one is an edit.
    """
    meter = await service.get_meter(conn, meter_id)
    project = await estate.get_project(conn, meter.project_id)
    quantity = channel or meter.main_channel
    installed = day_start(meter.installed_on, project.zone)
    check_time(taken_at, installed, datetime.now(UTC))
    reading = ManualReading(meter_id, quantity.number, taken_at, base_value(text, unit, quantity, meter))
    stored = (await store_all(conn, [reading]))[0]
    if stored != reading.value:
        shown = Decimal(stored).scaleb(quantity.display_exponent)
        raise Conflict(
            "other-value",
            f"{shown:f} {quantity.display_unit} is stored for this instant: change it with an edit",
            field="value",
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


def check_time(taken_at: datetime, installed: datetime, now: datetime) -> None:
    """Raises InvalidInput for a time in the future or before the meter was there."""
    if taken_at > now + FUTURE:
        raise InvalidInput("in-future", "expected a time that has come", field="taken_at")
    if taken_at < installed:
        raise InvalidInput("before-installation", f"expected a time from {installed.isoformat()} on", field="taken_at")


def base_value(text: str, unit: str, quantity: Quantity, meter: Meter) -> int:
    """A register value in the base unit. Raises InvalidInput: no number, other unit, too fine, beyond the register."""
    base, exponent = EXPONENT_OF_PREFIXED_UNIT.get(unit or quantity.display_unit, ("", 0))
    if base != quantity.unit:
        raise InvalidInput("other-unit", f"expected {quantity.display_unit}, found {unit[:20]}", field="unit")
    value = number(text).scaleb(exponent)
    if value < 0:
        raise InvalidInput("negative", "expected a value from 0 on", field="value")
    if value >= (meter.modulus if quantity.kind is Kind.CUMULATIVE else 2**63):
        raise InvalidInput("beyond-register", "expected a value that the register can show", field="value")
    if value != value.to_integral_value():
        raise InvalidInput("too-fine", f"expected whole {quantity.unit}", field="value")
    return int(value)
