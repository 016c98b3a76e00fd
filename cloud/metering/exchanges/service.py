"""Exchange and removal of meters, change of their multiplier, and the way back from the last of these."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from typing import Any

from cloud.devices import bindings
from cloud.devices import service as devices
from cloud.devices.bindings import BoundDevice
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import PageRequest
from cloud.kit.periods import local_day
from cloud.metering import service
from cloud.metering.assets.ratings import check_bounds
from cloud.metering.assets.registers import register_in_force
from cloud.metering.exchanges import repository, rules
from cloud.metering.exchanges.records import (
    ChannelEnd,
    Exchange,
    ExchangePlan,
    Neighbours,
    PlanWarning,
    Procedure,
    Removal,
)
from cloud.metering.records import Meter, MeterRegister
from gateway.contract.quantities import BY_NUMBER, Kind

_ALL = PageRequest(500)
_NOBODY = Neighbours(None, None)


async def plan_exchange(conn: Conn, wanted: Exchange, now: datetime) -> ExchangePlan:
    """What the exchange would do, checked; nothing is written.

    Raises NotFound, Conflict when the meter is removed or the other device carries a meter, and InvalidInput that
    names the field: a time in the future
    or before the register in force, a reading that is missing, of no such register or below the last one.
    """
    meter, before = await _in_place(conn, wanted.meter_id)
    rules.check_instant(wanted.at, before, now)
    _check_multiplier_change(wanted, before)
    main = ChannelEnd(meter.main_channel.number, _final(wanted.final), _initial(wanted))
    after = _following(wanted, before)
    check_bounds(after.modulus, after.max_per_hour, after.multiplier)
    plan = await _plan(conn, meter, before, after, (main, *wanted.others), wanted.at)
    if wanted.device_id is not None and (plan.binding is None or plan.binding.device_id != wanted.device_id):
        await devices.get_device(conn, wanted.device_id)
        ending = None if plan.binding is None else plan.binding.id
        await bindings.refuse_overlap(conn, wanted.device_id, meter.id, wanted.at, None, but=ending)
    return plan


async def exchange(conn: Conn, wanted: Exchange, actor: str, now: datetime) -> Procedure:
    """Makes the exchange: the register changes at its instant, and usage is derived again from there on.

    With `device_id` the binding in force ends and the new device's begins at the same instant. Raises as
    `plan_exchange`.
    """
    await repository.lock_meter(conn, wanted.meter_id)
    plan = await plan_exchange(conn, wanted, now)
    assert plan.after is not None
    meter, ends = plan.meter, [outcome.end for outcome in plan.outcomes]
    await repository.close_register(conn, plan.before, meter.project_id, wanted.at, ends)
    made = await repository.open_register(conn, plan.after, meter.project_id, ends)
    details = _details(plan, made)
    if wanted.device_id is not None:
        details["bindings"] = await _move_binding(conn, plan.binding, meter.id, wanted.device_id, wanted.at)
    if wanted.reason == "exchanged":
        # What was due was the old meter's verification.
        await repository.set_verification_due(conn, meter.id, wanted.verification_due)
    await repository.mark_dirty(conn, meter.id, wanted.at)
    await service.ask_for_usage(conn)
    made_id = await repository.keep_procedure(conn, meter, wanted.reason, wanted.at, details, wanted.note, actor)
    return await get_procedure(conn, meter.id, made_id)


async def plan_removal(conn: Conn, wanted: Removal, now: datetime) -> ExchangePlan:
    """What the removal would do, checked as an exchange is; nothing is written."""
    meter, before = await _in_place(conn, wanted.meter_id)
    rules.check_instant(wanted.at, before, now)
    main = ChannelEnd(meter.main_channel.number, _final(wanted.final), None)
    plan = await _plan(conn, meter, before, None, (main, *wanted.others), wanted.at)
    if await repository.has_sub_meters(conn, meter.id):
        plan = replace(plan, warnings=(*plan.warnings, PlanWarning("has-sub-meters", main.channel)))
    return plan


async def remove(conn: Conn, wanted: Removal, actor: str, now: datetime) -> Procedure:
    """Takes a meter out for good: its register and its binding end. Raises as `plan_removal`."""
    await repository.lock_meter(conn, wanted.meter_id)
    plan = await plan_removal(conn, wanted, now)
    meter = plan.meter
    project = await estate.get_project(conn, meter.project_id)
    ends = [outcome.end for outcome in plan.outcomes]
    await repository.close_register(conn, plan.before, meter.project_id, wanted.at, ends)
    await repository.set_removed(conn, meter.id, _last_day(meter, local_day(wanted.at, project.zone)))
    details = _details(plan, None)
    if plan.binding is not None:
        await bindings.end_binding(conn, plan.binding.id, wanted.at)
        details["bindings"] = [plan.binding.id, None]
    await repository.mark_dirty(conn, meter.id, wanted.at)
    await service.ask_for_usage(conn)
    made = await repository.keep_procedure(conn, meter, "removed", wanted.at, details, wanted.note, actor)
    return await get_procedure(conn, meter.id, made)


async def undo(conn: Conn, meter_id: int, procedure_id: int, actor: str, reason: str) -> Procedure:
    """Takes the last exchange or removal of a meter back, as if it had never been made.

    Raises NotFound, InvalidInput without a reason, Conflict for one that is not the last or was undone before.
    """
    if not reason.strip():
        raise InvalidInput("no-reason", "expected a reason", field="reason")
    await repository.lock_meter(conn, meter_id)
    meter = await service.get_meter(conn, meter_id)
    wanted = await get_procedure(conn, meter_id, procedure_id)
    standing = [one for one in await repository.procedures(conn, meter_id) if one.undone_at is None]
    if not standing or standing[0].id != wanted.id:
        raise Conflict("not-the-last", "only the last exchange or removal that stands can be undone")
    if wanted.details["opened"] is not None:
        await repository.take_back_register(conn, wanted.details["opened"])
    await repository.reopen_register(conn, wanted.details["closed"])
    await _bindings_back(conn, wanted)
    if wanted.kind == "removed":
        await repository.set_removed(conn, meter.id, None)
    elif wanted.kind == "exchanged":
        due = wanted.details["verification_due"]
        await repository.set_verification_due(conn, meter.id, None if due is None else date.fromisoformat(due))
    await repository.mark_undone(conn, wanted.id, actor, reason)
    await repository.mark_dirty(conn, meter.id, wanted.at)
    await service.ask_for_usage(conn)
    return await get_procedure(conn, meter_id, procedure_id)


async def procedures_of(conn: Conn, meter_id: int) -> list[Procedure]:
    """Exchanges and removals of a meter, the last first, those that were undone too. Raises NotFound."""
    await service.get_meter(conn, meter_id)
    return await repository.procedures(conn, meter_id)


async def get_procedure(conn: Conn, meter_id: int, procedure_id: int) -> Procedure:
    """Raises NotFound."""
    found = next((one for one in await repository.procedures(conn, meter_id) if one.id == procedure_id), None)
    if found is None:
        raise NotFound("no-procedure", f"meter {meter_id} has no procedure {procedure_id}", field="procedure_id")
    return found


async def _in_place(conn: Conn, meter_id: int) -> tuple[Meter, MeterRegister]:
    meter = await service.get_meter(conn, meter_id)
    register = await register_in_force(conn, meter_id)
    if meter.removed_on is not None or register.valid_until is not None:
        raise Conflict("meter-removed", f"meter {meter.code} was taken out before")
    return meter, register


def _final(value: int | None) -> int:
    if value is None:
        raise InvalidInput("missing-final", "expected the final reading of the main register", field="final")
    return value


def _initial(wanted: Exchange) -> int:
    if wanted.reason == "exchanged":
        if wanted.initial is None:
            raise InvalidInput("missing-initial", "expected the initial reading of the new register", field="initial")
        return wanted.initial
    if wanted.initial not in (None, wanted.final):
        raise InvalidInput("bad-initial", "with another multiplier the register runs on: one reading", field="initial")
    return _final(wanted.final)


def _check_multiplier_change(wanted: Exchange, before: MeterRegister) -> None:
    if wanted.reason == "multiplier" and wanted.multiplier in (None, before.multiplier):
        raise InvalidInput("same-multiplier", f"the multiplier is {before.multiplier} already", field="multiplier")


def _following(wanted: Exchange, before: MeterRegister) -> MeterRegister:
    """The register after the change: what is not said is as before, but the face of a register that runs on stays."""
    multiplier = before.multiplier if wanted.multiplier is None else wanted.multiplier
    following = replace(
        before, valid_from=wanted.at, reason=wanted.reason, multiplier=multiplier, note=wanted.note, ends={}
    )
    if wanted.reason == "multiplier":
        return following
    modulus, resolution = wanted.bounds or (before.modulus, before.resolution)
    return replace(
        following,
        serial=wanted.serial,
        modulus=modulus,
        resolution=resolution,
        max_per_hour=wanted.max_per_hour or before.max_per_hour,
        rating=dict(wanted.rating) if wanted.max_per_hour else before.rating,
    )


async def _plan(
    conn: Conn,
    meter: Meter,
    before: MeterRegister,
    after: MeterRegister | None,
    ends: Sequence[ChannelEnd],
    at: datetime,
) -> ExchangePlan:
    counting = [one.number for one in BY_NUMBER.values() if one.kind is Kind.CUMULATIVE]
    known = await repository.neighbours(conn, meter.id, counting, before.valid_from, at)
    given = _by_channel(ends, counting)
    # Usage is derived for channels of the main one's unit; of those that were read nobody should forget one.
    read = [
        ChannelEnd(channel, None, None)
        for channel, found in known.items()
        if found.before is not None and channel not in given and BY_NUMBER[channel].unit == meter.main_channel.unit
    ]
    outcomes, warnings = [], []
    for end in (*given.values(), *read):
        around = known.get(end.channel, _NOBODY)
        names = ("final", "initial") if end.channel == meter.main_channel.number else (_name(end), _name(end))
        rules.check_end(end, names, around, before, after)
        outcome = rules.outcome(end, around, before, after)
        outcomes.append(outcome)
        warnings += [PlanWarning(code, end.channel) for code in rules.warnings(outcome, before, after, at)]
    binding = await _binding_at(conn, meter.id, at)
    return ExchangePlan(meter, before, after, tuple(outcomes), tuple(warnings), binding)


def _by_channel(ends: Sequence[ChannelEnd], counting: Sequence[int]) -> dict[int, ChannelEnd]:
    given: dict[int, ChannelEnd] = {}
    for end in ends:
        if end.channel not in counting:
            raise InvalidInput("unknown-channel", "expected a channel that counts", field=_name(end))
        if end.channel in given:
            raise InvalidInput("same-channel-twice", "expected every channel once", field=_name(end))
        given[end.channel] = end
    return given


def _name(end: ChannelEnd) -> str:
    return f"others.{BY_NUMBER[end.channel].code}" if end.channel in BY_NUMBER else "others"


def _details(plan: ExchangePlan, made: int | None) -> dict[str, Any]:
    due = plan.meter.verification_due
    return {
        "closed": plan.before.id,
        "opened": made,
        "readings": [[one.end.channel, one.end.final, one.end.initial] for one in plan.outcomes],
        "verification_due": None if due is None else due.isoformat(),
        "bindings": None,
    }


def _last_day(meter: Meter, day: date) -> date:
    """In the zone of the project a meter may be taken out in the night before the day it is said to be put in."""
    return max(day, meter.installed_on)


async def _binding_at(conn: Conn, meter_id: int, at: datetime) -> BoundDevice | None:
    found = (await bindings.list_bindings(conn, _ALL, meter_id=meter_id)).items
    return next((one for one in found if one.holds_at(at)), None)


async def _move_binding(
    conn: Conn, binding: BoundDevice | None, meter_id: int, device_id: int, at: datetime
) -> list[int | None] | None:
    """Ids of the binding that ended and of the one that began; None when the device carried the meter already."""
    if binding is not None and binding.device_id == device_id:
        return None
    if binding is not None:
        await bindings.end_binding(conn, binding.id, at)
    return [None if binding is None else binding.id, await devices.bind(conn, device_id, meter_id, at)]


async def _bindings_back(conn: Conn, undone: Procedure) -> None:
    ended, begun = undone.details["bindings"] or (None, None)
    if begun is not None:
        await bindings.take_back_binding(conn, begun)
    if ended is not None:
        await bindings.reopen_binding(conn, ended)
