"""Meters as things: corrections of what is said of them, masters and sub-meters, seals, verifications."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, Literal

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.periods import day_start, local_day
from cloud.metering import service
from cloud.metering.assets import repository
from cloud.metering.assets.ratings import check_bounds
from cloud.metering.assets.registers import registers_of
from cloud.metering.exchanges.repository import lock_meter, mark_dirty
from cloud.metering.records import MasterData, Meter, MeterRegister, MeterSeal, Reading, Verification
from cloud.metering.thresholds import changes as threshold_changes
from cloud.metering.thresholds import overrides as threshold_overrides

INTERVALS_S: Final = (900, 1800, 3600, 86400)
MAX_TREE: Final = 2_000
"""Meters of one tree in an answer."""


def master_data(meter: Meter) -> MasterData:
    """What can be corrected of a meter, as it is."""
    return MasterData(
        meter.code, meter.unit_id, meter.parent_id, meter.place, meter.meter_class, meter.interval_s,
        meter.verification_due,
    )  # fmt: skip


async def correct(conn: Conn, meter_id: int, data: MasterData) -> Meter:
    """Corrects the master data of a meter; with another interval all its usage is derived again, with another class
    what was estimated.

    Raises NotFound, InvalidInput, and Conflict when its master is below it or measures another medium.
    """
    await lock_meter(conn, meter_id)
    meter = await service.get_meter(conn, meter_id)
    if data.interval_s not in INTERVALS_S:
        raise InvalidInput("bad-interval", f"expected one of {INTERVALS_S}", field="interval_s")
    if data.unit_id is not None and data.unit_id != meter.unit_id:
        await _must_be_unit(conn, meter.project_id, data.unit_id)
    if data.parent_id is not None and data.parent_id != meter.parent_id:
        await _must_be_master(conn, meter, data.parent_id)
    before = await threshold_overrides.of_meter(conn, meter_id)
    await repository.correct(conn, meter_id, data)
    after = await threshold_overrides.of_meter(conn, meter_id)
    await threshold_changes.note(conn, meter.project_id, before.in_force, after.in_force, meter_id=meter_id)
    if data.interval_s != meter.interval_s:
        await mark_dirty(conn, meter_id, await _beginning(conn, meter))
        await service.ask_for_usage(conn)
    return await service.get_meter(conn, meter_id)


async def correct_register(conn: Conn, meter_id: int, register_id: int, **said: Any) -> MeterRegister:
    """Corrects what was entered wrongly of a register; usage is derived again from its start.

    `said`: serial, multiplier, modulus, resolution, max_per_hour, rating, note; what is absent stays. A register that
    was changed is another matter: see `exchange`. Raises NotFound, InvalidInput.
    """
    await lock_meter(conn, meter_id)
    register = await get_register(conn, meter_id, register_id)
    corrected = replace(register, **said)
    check_bounds(corrected.modulus, corrected.max_per_hour, corrected.multiplier)
    if any(value is not None and value >= corrected.modulus for ends in corrected.ends.values() for value in ends):
        raise InvalidInput("bad-modulus", "a reading at the register's ends is above its digits", field="digits")
    await repository.correct_register(conn, corrected)
    if _counts(corrected) != _counts(register):
        await mark_dirty(conn, meter_id, register.valid_from)
        await service.ask_for_usage(conn)
    return await get_register(conn, meter_id, register_id)


async def get_register(conn: Conn, meter_id: int, register_id: int) -> MeterRegister:
    """Raises NotFound."""
    registers = (await registers_of(conn, [meter_id])).get(meter_id, [])
    found = next((one for one in registers if one.id == register_id), None)
    if found is None:
        raise NotFound("no-register", f"meter {meter_id} has no register {register_id}", field="register_id")
    return found


async def tree(conn: Conn, meter_id: int) -> list[tuple[int, Meter]]:
    """The masters of a meter (depth below 0, the topmost first), itself (0), and what is below it, as far as seen."""
    await service.get_meter(conn, meter_id)
    places = await repository.above(conn, meter_id) + await repository.below(conn, meter_id, MAX_TREE)
    meters = await service.meters_by_id(conn, [place.id for place in places])
    return [(place.depth, meters[place.id]) for place in places if place.id in meters]


async def channels_of(conn: Conn, meter_id: int) -> list[Reading]:
    """The newest reading of every channel that the meter has readings of. Raises NotFound."""
    await service.get_meter(conn, meter_id)
    return (await service.latest_readings(conn, [meter_id])).get(meter_id, [])


async def seals_of(conn: Conn, meter_id: int) -> list[MeterSeal]:
    """Seals of a meter, those on it first. Raises NotFound."""
    await service.get_meter(conn, meter_id)
    return await repository.seals(conn, meter_id)


async def apply_seal(
    conn: Conn, meter_id: int, number: str, place: str, applied_at: datetime, applied_by: str, now: datetime
) -> MeterSeal:
    """Notes a seal that was put on a meter; its number is unique in the project. Raises NotFound, InvalidInput."""
    meter = await service.get_meter(conn, meter_id)
    _not_in_future(applied_at, now)
    made = await repository.apply_seal(conn, meter.project_id, meter_id, number, place, applied_at, applied_by)
    return await get_seal(conn, meter_id, made)


async def remove_seal(
    conn: Conn, meter_id: int, seal_id: int, removed_at: datetime, removed_by: str, reason: str, now: datetime
) -> MeterSeal:
    """Notes that a seal was taken off, and why. Raises NotFound, InvalidInput, Conflict when it was before."""
    await lock_meter(conn, meter_id)
    seal = await get_seal(conn, meter_id, seal_id)
    if seal.removed_at is not None:
        raise Conflict("seal-removed", f"seal {seal.number} was taken off before")
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason", field="reason")
    _not_in_future(removed_at, now)
    if removed_at < seal.applied_at:
        raise InvalidInput("bad-period", "expected a time after the seal was put on", field="at")
    await repository.remove_seal(conn, seal_id, removed_at, removed_by, reason)
    return await get_seal(conn, meter_id, seal_id)


async def get_seal(conn: Conn, meter_id: int, seal_id: int) -> MeterSeal:
    """Raises NotFound."""
    found = next((one for one in await seals_of(conn, meter_id) if one.id == seal_id), None)
    if found is None:
        raise NotFound("no-seal", f"meter {meter_id} has no seal {seal_id}", field="seal_id")
    return found


async def verifications_of(conn: Conn, meter_id: int) -> list[Verification]:
    """Verifications of a meter, the newest first. Raises NotFound."""
    await service.get_meter(conn, meter_id)
    return await repository.verifications(conn, meter_id)


async def verify(
    conn: Conn,
    meter_id: int,
    verified_on: date,
    result: Literal["passed", "failed"],
    next_due: date | None,
    certificate: str,
    note: str,
    actor: str,
    now: datetime,
) -> Verification:
    """Notes a verification; from then on the meter is due when the newest one says.

    After one that was not passed it is due since that day, until it is exchanged or passes. Raises NotFound,
    InvalidInput; two on one day are refused.
    """
    meter = await service.get_meter(conn, meter_id)
    project = await estate.get_project(conn, meter.project_id)
    if verified_on > local_day(now, project.zone):
        raise InvalidInput("bad-date", "expected a day that has come", field="verified_on")
    if next_due is not None and (result == "failed" or next_due <= verified_on):
        raise InvalidInput("bad-date", "expected a later day, after a verification that was passed", field="next_due")
    made = await repository.keep_verification(
        conn, meter.project_id, meter_id, verified_on, result, certificate, next_due, note, actor
    )
    return next(one for one in await repository.verifications(conn, meter_id) if one.id == made)


def _counts(register: MeterRegister) -> Sequence[int | Decimal]:
    """What usage depends on."""
    return register.multiplier, register.modulus, register.max_per_hour


async def _beginning(conn: Conn, meter: Meter) -> datetime:
    project = await estate.get_project(conn, meter.project_id)
    return day_start(meter.installed_on, project.zone)


async def _must_be_unit(conn: Conn, project_id: int, unit_id: int) -> None:
    unit = (await estate.units_by_id(conn, [unit_id])).get(unit_id)
    if unit is None or unit.project_id != project_id:
        raise NotFound("unknown-unit", f"project {project_id} has no unit {unit_id}", field="unit_id")


async def _must_be_master(conn: Conn, meter: Meter, parent_id: int) -> None:
    """The database refuses the same, also of two changes at once; here it is said which field is wrong."""
    parent = await service.get_meter(conn, parent_id)
    if parent.project_id != meter.project_id:
        raise NotFound("no-meter", f"there is no meter {parent_id}", field="parent_id")
    if parent.medium != meter.medium:
        raise Conflict("other-medium", f"meter {parent.code} measures {parent.medium}", field="parent_id")
    above = {place.id for place in await repository.above(conn, parent_id)}
    if meter.id in above | {parent_id}:
        raise Conflict("meter-circle", f"meter {parent.code} is below this one", field="parent_id")


def _not_in_future(at: datetime, now: datetime) -> None:
    if at > now:
        raise InvalidInput("bad-date", "expected a time that has passed", field="at")
