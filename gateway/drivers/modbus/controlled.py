"""Modbus meters that can be commanded: which of them a template makes, and their capabilities."""

from collections.abc import Callable
from datetime import datetime

from gateway.drivers.base import CommandOutcome, Supply
from gateway.drivers.modbus.clock import ClockSetter
from gateway.drivers.modbus.meter import ModbusMeter
from gateway.drivers.modbus.program import Programs
from gateway.drivers.modbus.switch import Switcher
from gateway.drivers.modbus.wire import ModbusWire


class _Switches(ModbusMeter):
    """Has a relay, a valve, or both."""

    def __init__(self, device: str, unit: int, wire: ModbusWire, programs: Programs) -> None:
        super().__init__(device, unit, wire, programs)
        template = programs.template
        self._switchers = {
            supply: Switcher(switch, template, unit, wire, self.unlock)
            for supply, switch in ((Supply.RELAY, template.controls.relay), (Supply.VALVE, template.controls.valve))
            if switch is not None
        }

    @property
    def supplies(self) -> frozenset[Supply]:
        """What of it can be switched."""
        return frozenset(self._switchers)

    async def switch(self, supply: Supply, on: bool) -> CommandOutcome:
        """See SwitchesSupply. Raises KeyError for a supply that it does not have."""
        return await self._switchers[supply].order(on)


class _SetsClock(ModbusMeter):
    """Has a clock."""

    def __init__(self, device: str, unit: int, wire: ModbusWire, programs: Programs) -> None:
        super().__init__(device, unit, wire, programs)
        clock = programs.template.controls.clock
        assert clock is not None
        self._clock = ClockSetter(clock, programs.template, unit, wire, self.unlock)

    async def set_clock(self, local_now: Callable[[], datetime]) -> CommandOutcome:
        """See SetsClock."""
        return await self._clock.set(local_now)


class _SwitchesAndSetsClock(_Switches, _SetsClock):
    """Has both."""


def modbus_meter(device: str, unit: int, wire: ModbusWire, programs: Programs) -> ModbusMeter:
    """A meter with the capabilities that its template gives it."""
    controls = programs.template.controls
    switches = controls.relay is not None or controls.valve is not None
    kinds: dict[tuple[bool, bool], type[ModbusMeter]] = {
        (False, False): ModbusMeter,
        (True, False): _Switches,
        (False, True): _SetsClock,
        (True, True): _SwitchesAndSetsClock,
    }
    return kinds[switches, controls.clock is not None](device, unit, wire, programs)
