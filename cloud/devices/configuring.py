"""Rules of gateways' configurations: made, restored, superseded, listed, and moved on by what gateways report."""

import asyncio
from collections.abc import Mapping, Sequence

import structlog

from cloud.devices import configurations
from cloud.devices.checks import check_configuration
from cloud.devices.configurations import Draft
from cloud.devices.records import Configuration, ConfigurationSummary
from cloud.devices.service import get_gateway
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from gateway.contract.configuration import ConfigurationReport

DEFAULT_CONFIRM_S = 120
SHORTEST_CONFIRM_S, LONGEST_CONFIRM_S = 10, 3_600

_log = structlog.get_logger(__name__)


async def configure(
    conn: Conn,
    gateway_id: int,
    site: str,
    templates: Mapping[str, str],
    actor: str,
    reason: str,
    confirm_s: int = DEFAULT_CONFIRM_S,
    *,
    newest: int | None = None,
    restores: int | None = None,
) -> Configuration:
    """Queues a configuration; the downlink signs and publishes it after the commit.

    `newest` is the number that its author had before him: with a newer one there it is refused, so that nobody
    overwrites what he has not seen. Raises NotFound, Conflict, and InvalidInput with every problem.
    """
    if not SHORTEST_CONFIRM_S <= confirm_s <= LONGEST_CONFIRM_S:
        detail = f"expected {SHORTEST_CONFIRM_S} to {LONGEST_CONFIRM_S} seconds"
        raise InvalidInput("bad-validity", detail, field="confirm_s")
    gateway = await get_gateway(conn, gateway_id)
    await asyncio.to_thread(check_configuration, site, templates)
    here, there = await configurations.newest_number(conn, gateway_id, lock=True)
    if newest is not None and newest != here:
        raise Conflict("newer-configuration", f"configuration {here} was made meanwhile: look at it first")
    number = max(here, there) + 1
    draft = Draft(gateway.project_id, gateway_id, site, confirm_s, reason, actor, dict(templates), restores)
    await configurations.insert(conn, draft, number)
    return await get_configuration(conn, gateway_id, number)


async def restore(
    conn: Conn,
    gateway_id: int,
    number: int,
    actor: str,
    reason: str,
    confirm_s: int = DEFAULT_CONFIRM_S,
    *,
    newest: int | None = None,
) -> Configuration:
    """Queues the content of an earlier configuration as a new one. `newest` and errors as with `configure`."""
    old = await get_configuration(conn, gateway_id, number)
    return await configure(
        conn, gateway_id, old.site, old.templates, actor, reason, confirm_s, newest=newest, restores=number
    )


async def get_configuration(conn: Conn, gateway_id: int, number: int) -> Configuration:
    """Raises NotFound."""
    found = await configurations.one(conn, gateway_id, number)
    if found is None:
        raise NotFound("no-configuration", f"gateway {gateway_id} has no configuration {number}")
    return found


async def find_before(conn: Conn, configuration: Configuration) -> Configuration | None:
    """The version before this one, None for the first."""
    return await configurations.before(conn, configuration.gateway_id, configuration.number)


async def newest_number(conn: Conn, gateway_id: int) -> int:
    """The highest number of a gateway, 0 when it has no configuration."""
    return (await configurations.newest_number(conn, gateway_id))[0]


async def list_configurations(conn: Conn, page: PageRequest, gateway_id: int) -> Page[ConfigurationSummary]:
    """Configurations of a gateway, newest first."""
    return await configurations.newest(conn, page, gateway_id)


async def apply_configurations(conn: Conn, gateway_id: int, reports: Sequence[ConfigurationReport]) -> int:
    """Moves configurations forward as reported; returns how many moved. What ingest calls."""
    for report in reports:
        if not report.proven:
            _log.warning("devices.configuration_doubted", gateway_id=gateway_id, detail=report.detail)
    return await configurations.move(conn, gateway_id, reports)
