"""REST: meters as things. Registers, exchanges, removals, seals, verifications, trees and bindings."""

from datetime import UTC, datetime
from typing import Annotated

from fastapi import Query

from cloud.devices import bindings
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.metering import service
from cloud.metering.assets import service as assets
from cloud.metering.assets.models import (
    BindingEndIn,
    BindingQuery,
    BoundDeviceOut,
    ChannelOut,
    MeterPatch,
    RegisterOut,
    RegisterPatch,
    SealIn,
    SealOut,
    SealRemovalIn,
    TreeOut,
    VerificationIn,
    VerificationOut,
)
from cloud.metering.assets.registers import registers_of
from cloud.metering.exchanges import service as exchange
from cloud.metering.exchanges.models import (
    ChangeOut,
    ExchangeIn,
    ProcedureOut,
    RemovalIn,
    UndoIn,
)
from cloud.metering.models import MeterOut

router = rest_router("metering")

Reading = Annotated[Scope, allow("meters.read")]
Writing = Annotated[Scope, allow("meters.write")]


@router.patch("/meters/{meter_id}")
async def correct_meter(meter_id: Id, body: MeterPatch, scope: Writing) -> MeterOut:
    """Corrects what is said of a meter; with another interval its usage is derived again."""
    data = assets.master_data(await service.get_meter(scope.conn, meter_id))
    return MeterOut.of(await assets.correct(scope.conn, meter_id, body.corrected(data)))


@router.get("/meters/{meter_id}/registers")
async def list_registers(meter_id: Id, scope: Reading) -> Listed[RegisterOut]:
    """Registers of a meter in the order of time."""
    await service.get_meter(scope.conn, meter_id)
    found = (await registers_of(scope.conn, [meter_id])).get(meter_id, [])
    return Listed(items=[RegisterOut.of(register) for register in found], next_cursor=None)


@router.patch("/meters/{meter_id}/registers/{register_id}")
async def correct_register(meter_id: Id, register_id: Id, body: RegisterPatch, scope: Writing) -> RegisterOut:
    """Corrects what was entered wrongly of a register; usage is derived again from its start."""
    meter = await service.get_meter(scope.conn, meter_id)
    said = body.said(meter.medium)
    return RegisterOut.of(await assets.correct_register(scope.conn, meter_id, register_id, **said))


@router.post("/meters/{meter_id}/exchanges", status_code=201)
async def exchange_meter(meter_id: Id, body: ExchangeIn, scope: Writing, once: Once) -> ChangeOut:
    """Another meter, or another multiplier, from an instant on; with `preview` only what that would do."""

    async def make() -> ChangeOut:
        wanted = body.wanted(await service.get_meter(scope.conn, meter_id))
        plan = await exchange.plan_exchange(scope.conn, wanted, _now())
        made = None if body.preview else await exchange.exchange(scope.conn, wanted, scope.caller.actor, _now())
        return ChangeOut.of(plan, made)

    return await once.answer(scope.conn, ChangeOut, make)


@router.post("/meters/{meter_id}/removals", status_code=201)
async def remove_meter(meter_id: Id, body: RemovalIn, scope: Writing, once: Once) -> ChangeOut:
    """Takes a meter out for good; with `preview` only what that would do."""

    async def make() -> ChangeOut:
        wanted = body.wanted(await service.get_meter(scope.conn, meter_id))
        plan = await exchange.plan_removal(scope.conn, wanted, _now())
        made = None if body.preview else await exchange.remove(scope.conn, wanted, scope.caller.actor, _now())
        return ChangeOut.of(plan, made)

    return await once.answer(scope.conn, ChangeOut, make)


@router.get("/meters/{meter_id}/procedures")
async def list_procedures(meter_id: Id, scope: Reading) -> Listed[ProcedureOut]:
    """Exchanges and removals of a meter, the last first, those that were undone too."""
    found = await exchange.procedures_of(scope.conn, meter_id)
    return Listed(items=[ProcedureOut.model_validate(one) for one in found], next_cursor=None)


@router.post("/meters/{meter_id}/procedures/{procedure_id}/undo", status_code=201)
async def undo_procedure(meter_id: Id, procedure_id: Id, body: UndoIn, scope: Writing, once: Once) -> ProcedureOut:
    """Takes the last exchange or removal back, as if it had never been made."""

    async def make() -> ProcedureOut:
        undone = await exchange.undo(scope.conn, meter_id, procedure_id, scope.caller.actor, body.reason)
        return ProcedureOut.model_validate(undone)

    return await once.answer(scope.conn, ProcedureOut, make)


@router.get("/meters/{meter_id}/seals")
async def list_seals(meter_id: Id, scope: Reading) -> Listed[SealOut]:
    """Seals of a meter, those on it first."""
    found = await assets.seals_of(scope.conn, meter_id)
    return Listed(items=[SealOut.model_validate(one) for one in found], next_cursor=None)


@router.post("/meters/{meter_id}/seals", status_code=201)
async def apply_seal(meter_id: Id, body: SealIn, scope: Writing, once: Once) -> SealOut:
    """A seal was put on a meter."""

    async def make() -> SealOut:
        made = await assets.apply_seal(
            scope.conn,
            meter_id,
            body.number,
            body.place,
            body.applied_at,
            body.applied_by or scope.caller.actor,
            _now(),
        )
        return SealOut.model_validate(made)

    return await once.answer(scope.conn, SealOut, make)


@router.post("/meters/{meter_id}/seals/{seal_id}/removal", status_code=201)
async def remove_seal(meter_id: Id, seal_id: Id, body: SealRemovalIn, scope: Writing, once: Once) -> SealOut:
    """A seal was taken off, with the reason."""

    async def make() -> SealOut:
        removed = await assets.remove_seal(
            scope.conn, meter_id, seal_id, body.at, scope.caller.actor, body.reason, _now()
        )
        return SealOut.model_validate(removed)

    return await once.answer(scope.conn, SealOut, make)


@router.get("/meters/{meter_id}/verifications")
async def list_verifications(meter_id: Id, scope: Reading) -> Listed[VerificationOut]:
    """Verifications of a meter, the newest first."""
    found = await assets.verifications_of(scope.conn, meter_id)
    return Listed(items=[VerificationOut.model_validate(one) for one in found], next_cursor=None)


@router.post("/meters/{meter_id}/verifications", status_code=201)
async def verify(meter_id: Id, body: VerificationIn, scope: Writing, once: Once) -> VerificationOut:
    """A meter was verified; it is due again when the newest verification says."""

    async def make() -> VerificationOut:
        made = await assets.verify(scope.conn, meter_id, actor=scope.caller.actor, now=_now(), **body.model_dump())
        return VerificationOut.model_validate(made)

    return await once.answer(scope.conn, VerificationOut, make)


@router.get("/meters/{meter_id}/tree")
async def tree(meter_id: Id, scope: Reading) -> Listed[TreeOut]:
    """The masters of a meter, the topmost first, itself, and what is below it, each after its master."""
    found = await assets.tree(scope.conn, meter_id)
    items = [TreeOut(**MeterOut.of(meter).model_dump(), depth=depth) for depth, meter in found]
    return Listed(items=items, next_cursor=None)


@router.get("/meters/{meter_id}/channels")
async def list_channels(meter_id: Id, scope: Reading) -> Listed[ChannelOut]:
    """The channels that a meter has readings of, and the newest reading of each."""
    meter = await service.get_meter(scope.conn, meter_id)
    found = await assets.channels_of(scope.conn, meter_id)
    return Listed(items=[ChannelOut.of(reading, meter) for reading in found], next_cursor=None)


@router.get("/device-bindings")
async def list_bindings(scope: Reading, query: Annotated[BindingQuery, Query()]) -> Listed[BoundDeviceOut]:
    """Which device carries which meter, and carried it, the last made first."""
    page = await bindings.list_bindings(
        scope.conn, query.page(), query.project_id, device_id=query.device_id, meter_id=query.meter_id
    )
    return Listed(items=[BoundDeviceOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.post("/device-bindings/{binding_id}/end", status_code=201)
async def end_binding(binding_id: Id, body: BindingEndIn, scope: Writing, once: Once) -> BoundDeviceOut:
    """From an instant on the device's readings are no longer the meter's."""

    async def make() -> BoundDeviceOut:
        return BoundDeviceOut.of(await bindings.end_binding(scope.conn, binding_id, body.at))

    return await once.answer(scope.conn, BoundDeviceOut, make)


def _now() -> datetime:
    return datetime.now(UTC)
