"""Relay and valve of a Modbus meter: an order is done when the device shows it, and only then."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Final

from gateway.contract.messages import CommandState
from gateway.drivers.base import CommandOutcome
from gateway.drivers.modbus.numbers import Unpacker, reader
from gateway.drivers.modbus.wire import IN_DOUBT, ModbusWire, write_all
from gateway.errors import DeviceError, ExceptionReply, LineDown
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.modbus_controls import Switch

Unlock = Callable[[], Awaitable[None]]
"""Makes the device readable. Raises like a read."""
_WORDS: Final = {True: "connected", False: "disconnected"}


class Switcher:
    """Switches one supply of one unit."""

    def __init__(self, switch: Switch, template: ModbusTemplate, unit: int, wire: ModbusWire, unlock: Unlock) -> None:
        self._switch, self._unit, self._wire, self._unlock = switch, unit, wire, unlock
        layout = template.layout(switch.shown, switch.shown.function)
        self._where = layout.function, layout.address, layout.type.registers
        self._unpack = Unpacker(layout.address, layout.type.registers, [layout])
        self._read = reader(layout, self._unpack.position[layout])

    async def order(self, connect: bool) -> CommandOutcome:
        """Unlocks, orders, and looks until the device shows it or its time is over. Raises LineDown if not ordered."""
        *first, last = self._switch.connect if connect else self._switch.disconnect
        try:
            await write_all(self._wire, self._unit, first)
        except DeviceError as error:
            return CommandOutcome(CommandState.FAILED, f"not ordered, the write before it failed: {error}")
        doubt = ""
        try:
            await write_all(self._wire, self._unit, (last,))
        except DeviceError as error:
            if isinstance(error, ExceptionReply) and error.code not in IN_DOUBT:
                return CommandOutcome(CommandState.FAILED, f"refused: {error}")
            doubt = f"the order was not confirmed: {error}; "
        return await self._watch(connect, doubt)

    async def shown(self) -> bool | None:
        """What the device shows; None in between. Raises DeviceError, LineDown."""
        await self._unlock()
        number = self._read(self._unpack(await self._wire.read(self._unit, *self._where)))
        if number in self._switch.shown.connected:
            return True
        return False if number in self._switch.shown.disconnected else None

    async def _watch(self, wanted: bool, doubt: str) -> CommandOutcome:
        deadline = monotonic() + self._switch.within_s
        while True:
            last_look = monotonic() >= deadline
            try:
                state = await self.shown()
            except (DeviceError, LineDown) as error:
                if last_look:
                    return CommandOutcome(CommandState.UNCERTAIN, f"{doubt}its state cannot be read: {error}")
            else:
                if state is wanted:
                    return CommandOutcome(CommandState.DONE, f"shown as {_WORDS[wanted]}")
                if last_look and state is None:
                    return CommandOutcome(CommandState.UNCERTAIN, f"{doubt}neither connected nor disconnected")
                if last_look:
                    return CommandOutcome(CommandState.FAILED, f"{doubt}still shown as {_WORDS[not wanted]}")
            await asyncio.sleep(self._switch.look_every_ms / 1000)
