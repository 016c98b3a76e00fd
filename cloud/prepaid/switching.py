"""Orders to the relay or valve of a meter: off, on, and how far they got."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import NAMESPACE_OID, UUID, uuid5

from cloud.devices import service as devices
from cloud.devices.bindings import list_bindings
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError
from cloud.kit.paging import PageRequest
from cloud.prepaid.disconnection import Order
from cloud.prepaid.records import SupplyCase
from gateway.contract.messages import Action

_PAIRS: Final = ((Action.SWITCH_OFF, Action.SWITCH_ON), (Action.CLOSE_VALVE, Action.OPEN_VALVE))
_BACK: Final = {off.value: on for off, on in _PAIRS}
_NAMES: Final = uuid5(NAMESPACE_OID, "gatemeter supply case")
_LOOKED_AT: Final = 20
"""Bindings of a meter that are looked at, newest first."""
RESTORE_FOR: Final = timedelta(hours=1)
"""How long an order to switch on is valid; then it is given again."""


@dataclass(frozen=True, slots=True)
class Relay:
    """What can cut the supply of a meter and give it back."""

    device_id: int
    off: Action


async def relay_of(conn: Conn, meter_id: int | None, now: datetime) -> Relay | None:
    """The device on a meter that its gateway says can switch off and on again; None when nothing says so."""
    if meter_id is None:
        return None
    page = await list_bindings(conn, PageRequest(_LOOKED_AT), meter_id=meter_id)
    for binding in page.items:
        if binding.holds_at(now):
            gateway = await devices.get_gateway(conn, binding.gateway_id)
            can = devices.actions_told(gateway).get(binding.device_code, frozenset())
            for off, on in _PAIRS:
                if {off, on} <= can:
                    return Relay(binding.device_id, off)
    return None


async def order_off(conn: Conn, case: SupplyCase, relay: Relay, valid_for: timedelta) -> UUID:
    """Orders the supply off: the nth order of a case is one order, however often it is asked for."""
    return await devices.queue_command(
        conn, case.project_id, relay.device_id, relay.off, {}, _actor(case), "prepaid balance used up", valid_for,
        order_id=uuid5(_NAMES, f"{case.id}:off:{case.cuts + 1}"),
    )  # fmt: skip


async def order_on(conn: Conn, case: SupplyCase) -> UUID | None:
    """Orders on what was ordered off, and takes back what no gateway has taken yet; None when nothing can be ordered.

    Also when the order to switch off was never published as far as is known: it may have been.
    """
    assert case.cut_id is not None
    await devices.withdraw_command(conn, case.cut_id, "the supply is wanted on")
    cut = await devices.get_command(conn, case.cut_id)
    try:
        return await devices.queue_command(
            conn, case.project_id, cut.device_id, _BACK[cut.action], {}, _actor(case), "supply wanted on", RESTORE_FOR,
            order_id=uuid5(_NAMES, f"{case.id}:on:{case.restores + 1}"),
        )  # fmt: skip
    except GatemeterError:
        return None


async def order(conn: Conn, command_id: UUID | None) -> Order | None:
    """How far an order got."""
    if command_id is None:
        return None
    found = await devices.get_command(conn, command_id)
    return Order(found.state, found.issued_at, found.updated_at, found.expires_at)


def _actor(case: SupplyCase) -> str:
    return f"supply-case:{case.id}"
