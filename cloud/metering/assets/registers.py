"""Registers of meters: their history, and how digits and ratings become modulus, resolution and maximum."""

from collections.abc import Iterable

from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.metering.assets import registers_repository as repository
from cloud.metering.records import MeterRegister


async def registers_of(conn: Conn, meter_ids: Iterable[int]) -> dict[int, list[MeterRegister]]:
    """The registers of these meters in the order of time, in one statement; a meter that is not seen is absent."""
    found: dict[int, list[MeterRegister]] = {}
    for register in await repository.registers(conn, sorted(set(meter_ids))):
        found.setdefault(register.meter_id, []).append(register)
    return found


async def register_in_force(conn: Conn, meter_id: int) -> MeterRegister:
    """The register that counts now, or the last one. Raises NotFound."""
    found = (await registers_of(conn, [meter_id])).get(meter_id)
    if not found:
        raise NotFound("no-meter", f"there is no meter {meter_id}", field="meter_id")
    return found[-1]
