"""Meters whose usage cannot be derived or settled: why, and tried again before their time."""

from collections.abc import Sequence

from cloud.kit.db import Conn
from cloud.metering import service
from cloud.metering import set_aside_repository as repository
from cloud.metering.set_aside_repository import SetAside


async def of_meters(conn: Conn, meter_ids: Sequence[int]) -> dict[int, list[SetAside]]:
    """What is set aside of these meters, by meter; those that are worked on as usual are absent."""
    return await repository.of_meters(conn, meter_ids) if meter_ids else {}


async def try_now(conn: Conn, meter_id: int) -> list[SetAside]:
    """Has a meter tried again when the worker next comes by, within a minute, and returns what is set aside of it.

    It stays set aside until that goes well; one that is worked on as usual is left as it is. Raises NotFound.
    """
    await service.get_meter(conn, meter_id)
    await repository.make_due(conn, [meter_id])
    found = (await repository.of_meters(conn, [meter_id])).get(meter_id, [])
    if found:
        await service.ask_for_usage(conn)
    return found
