"""REST: gateways, devices, commands, and what could not be put in its place."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from cloud.devices import service
from cloud.devices.models import (
    CommandIn,
    CommandOut,
    CommandQuery,
    DeadLetterOut,
    DeviceIn,
    DeviceOut,
    DeviceQuery,
    GapOut,
    GapQuery,
    GatewayIn,
    GatewayOut,
    UnclaimedOut,
)
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Listed, ListQuery

router = APIRouter(prefix="/api/v1", tags=["devices"])

Reading = Annotated[Scope, allow("devices.read")]
Writing = Annotated[Scope, allow("devices.write")]
Commanding = Annotated[Scope, allow("commands.send")]
Wanted = Annotated[ListQuery, Query()]


@router.get("/gateways")
async def list_gateways(scope: Reading, query: Wanted) -> Listed[GatewayOut]:
    """Gateways by id."""
    page = await service.list_gateways(scope.conn, query.page(), query.project_id)
    return Listed(items=[GatewayOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/gateways", status_code=201)
async def create_gateway(body: GatewayIn, scope: Writing, once: Once) -> GatewayOut:
    """A new gateway; messages that it sent before are taken from its next repetition on."""

    async def make() -> GatewayOut:
        return GatewayOut.model_validate(await service.create_gateway(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, GatewayOut, make)


@router.get("/devices")
async def list_devices(scope: Reading, query: Annotated[DeviceQuery, Query()]) -> Listed[DeviceOut]:
    """Devices by id."""
    page = await service.list_devices(scope.conn, query.page(), query.project_id, query.gateway_id)
    return Listed(items=[DeviceOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/devices", status_code=201)
async def create_device(body: DeviceIn, scope: Writing, once: Once) -> DeviceOut:
    """A new device of a gateway."""

    async def make() -> DeviceOut:
        return DeviceOut.model_validate(await service.create_device(scope.conn, **body.model_dump()))

    return await once.answer(scope.conn, DeviceOut, make)


@router.get("/commands")
async def list_commands(scope: Reading, query: Annotated[CommandQuery, Query()]) -> Listed[CommandOut]:
    """Commands, newest first."""
    page = await service.list_commands(scope.conn, query.page(key_length=2), query.project_id, query.device_id)
    return Listed(items=[CommandOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/commands", status_code=201)
async def send_command(body: CommandIn, scope: Commanding, once: Once) -> CommandOut:
    """Queues a command; watch its `state` for what came of it."""

    async def make() -> CommandOut:
        command_id = await service.queue_command(
            scope.conn,
            body.project_id,
            body.device_id,
            body.action,
            body.arguments,
            scope.caller.login,
            body.reason,
            timedelta(seconds=body.valid_for_s),
        )
        return CommandOut.model_validate(await service.get_command(scope.conn, command_id))

    return await once.answer(scope.conn, CommandOut, make)


@router.get("/dead-letters")
async def list_dead_letters(scope: Reading, query: Wanted) -> Listed[DeadLetterOut]:
    """Messages that could not be taken, newest first."""
    page = await service.list_dead_letters(scope.conn, query.page(), query.project_id)
    return Listed(items=[DeadLetterOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/unclaimed-readings")
async def list_unclaimed(scope: Reading, query: Wanted) -> Listed[UnclaimedOut]:
    """Readings that no meter can take yet, counted by channel."""
    page = await service.list_unclaimed(scope.conn, query.page(key_length=5), query.project_id)
    return Listed(items=[UnclaimedOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/reading-gaps")
async def list_gaps(scope: Reading, query: Annotated[GapQuery, Query()]) -> Listed[GapOut]:
    """What gateways had to give up and told about, last received first."""
    page = await service.list_gaps(scope.conn, query.page(), query.project_id, query.gateway_id)
    return Listed(items=[GapOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)
