"""REST: gateways, devices, commands, and what could not be put in its place."""

from datetime import timedelta
from typing import Annotated

from fastapi import Query

from cloud.devices import configuring, inbox_api, service
from cloud.devices.models import (
    CommandIn,
    CommandOut,
    CommandQuery,
    ConfigurationIn,
    ConfigurationOut,
    ConfigurationWhole,
    DeviceIn,
    DeviceOut,
    DeviceQuery,
    GapOut,
    GapQuery,
    GatewayIn,
    GatewayOut,
    RestoreIn,
)
from cloud.devices.records import CommandFilter
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery, PageQuery
from cloud.kit.routing import rest_router, take_in

router = rest_router("devices")
take_in(router, inbox_api.router)

Reading = Annotated[Scope, allow("devices.read")]
Writing = Annotated[Scope, allow("devices.write")]
Commanding = Annotated[Scope, allow("commands.send")]
Configuring = Annotated[Scope, allow("gateways.configure")]
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
    wanted = CommandFilter(query.project_id, query.device_id, query.state, query.action)
    page = await service.list_commands(scope.conn, query.page(key_length=2), wanted)
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
            _actor(scope),
            body.reason,
            timedelta(seconds=body.valid_for_s),
        )
        return CommandOut.model_validate(await service.get_command(scope.conn, command_id))

    return await once.answer(scope.conn, CommandOut, make)


@router.get("/gateways/{gateway_id}/configurations")
async def list_configurations(
    gateway_id: Id, scope: Reading, query: Annotated[PageQuery, Query()]
) -> Listed[ConfigurationOut]:
    """Configurations of a gateway, newest first."""
    await service.get_gateway(scope.conn, gateway_id)
    page = await configuring.list_configurations(scope.conn, query.page(), gateway_id)
    return Listed(items=[ConfigurationOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/gateways/{gateway_id}/configurations", status_code=201)
async def configure_gateway(
    gateway_id: Id, body: ConfigurationIn, scope: Configuring, once: Once
) -> ConfigurationWhole:
    """Sends a gateway what it is to run; watch its `state`: confirmed, refused or rolled back, with the reason."""

    async def make() -> ConfigurationWhole:
        made = await configuring.configure(
            scope.conn, gateway_id, body.site, body.templates, _actor(scope), body.reason, body.confirm_s,
            newest=body.newest,
        )  # fmt: skip
        return ConfigurationWhole.model_validate(made)

    return await once.answer(scope.conn, ConfigurationWhole, make)


@router.get("/gateways/{gateway_id}/configurations/{number}")
async def get_configuration(gateway_id: Id, number: Id, scope: Reading) -> ConfigurationWhole:
    """One configuration with its content."""
    return ConfigurationWhole.model_validate(await configuring.get_configuration(scope.conn, gateway_id, number))


@router.post("/gateways/{gateway_id}/configurations/{number}/restore", status_code=201)
async def restore_configuration(
    gateway_id: Id, number: Id, body: RestoreIn, scope: Configuring, once: Once
) -> ConfigurationWhole:
    """Sends the content of an earlier configuration again, as a new one."""

    async def make() -> ConfigurationWhole:
        made = await configuring.restore(
            scope.conn, gateway_id, number, _actor(scope), body.reason, body.confirm_s, newest=body.newest
        )
        return ConfigurationWhole.model_validate(made)

    return await once.answer(scope.conn, ConfigurationWhole, make)


@router.get("/reading-gaps")
async def list_gaps(scope: Reading, query: Annotated[GapQuery, Query()]) -> Listed[GapOut]:
    """What gateways had to give up and told about, last received first."""
    page = await service.list_gaps(scope.conn, query.page(), query.project_id, query.gateway_id)
    return Listed(items=[GapOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


def _actor(scope: Scope) -> str:
    return scope.caller.login
