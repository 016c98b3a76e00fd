"""Registers of meters: their history, and how digits and ratings become modulus, resolution and maximum."""

from collections.abc import Iterable

from cloud.kit.db import Conn
from cloud.metering import registers_repository as repository
from cloud.metering.records import MeterRegister


async def registers_of(conn: Conn, meter_ids: Iterable[int]) -> dict[int, list[MeterRegister]]:
    """The registers of these meters in the order of time, in one statement; a meter that is not seen is absent."""
    found: dict[int, list[MeterRegister]] = {}
    for register in await repository.registers(conn, sorted(set(meter_ids))):
        found.setdefault(register.meter_id, []).append(register)
    return found
