"""Modbus meters as polling and commands see them: which of them a template makes, and their capabilities."""

from collections.abc import Callable, Sequence
from datetime import datetime

from gateway.drivers.base import CommandOutcome, Groups, ReadOutcome, Supply
from gateway.drivers.modbus.clock import ClockSetter
from gateway.drivers.modbus.program import Programs
from gateway.drivers.modbus.switch import Switcher
from gateway.drivers.modbus.unit import Unit
from gateway.drivers.modbus.wire import ModbusWire
from gateway.templates.modbus import ModbusTemplate


class ModbusMeter:
    """Reads one meter: a unit, or one member of it."""

    def __init__(self, device: str, unit: Unit, member: int = 0) -> None:
        self.device = device
        self.groups: Groups = unit.programs.groups(member)
        self.template: ModbusTemplate = unit.programs.members[member].template
        self._unit, self._member = unit, member

    async def read(self, groups: Groups, now_ms: Callable[[], int]) -> ReadOutcome:
        """Runs the program of `groups`. Values that came before a failure are kept. Raises LineDown."""
        return await self._unit.read(self._member, groups, now_ms)


class _Switches(ModbusMeter):
    """Has a relay, a valve, or both."""

    def __init__(self, device: str, unit: Unit, member: int = 0) -> None:
        super().__init__(device, unit, member)
        controls = self.template.controls
        self._switchers = {
            supply: Switcher(switch, self.template, unit.number, unit.wire, unit.unlock)
            for supply, switch in ((Supply.RELAY, controls.relay), (Supply.VALVE, controls.valve))
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

    def __init__(self, device: str, unit: Unit, member: int = 0) -> None:
        super().__init__(device, unit, member)
        clock = self.template.controls.clock
        assert clock is not None
        self._clock = ClockSetter(clock, self.template, unit.number, unit.wire, unit.unlock)

    async def set_clock(self, local_now: Callable[[], datetime]) -> CommandOutcome:
        """See SetsClock."""
        return await self._clock.set(local_now)


class _SwitchesAndSetsClock(_Switches, _SetsClock):
    """Has both."""


def modbus_meters(devices: Sequence[str], unit: int, wire: ModbusWire, programs: Programs) -> list[ModbusMeter]:
    """The meters of one unit, one for each member of `programs`, with the capabilities that its template gives it."""
    shared = Unit(devices[0], unit, wire, programs)
    return [
        _class_of(member.template)(device, shared, number)
        for number, (device, member) in enumerate(zip(devices, programs.members, strict=True))
    ]


def _class_of(template: ModbusTemplate) -> type[ModbusMeter]:
    controls = template.controls
    kinds: dict[tuple[bool, bool], type[ModbusMeter]] = {
        (False, False): ModbusMeter,
        (True, False): _Switches,
        (False, True): _SetsClock,
        (True, True): _SwitchesAndSetsClock,
    }
    return kinds[controls.relay is not None or controls.valve is not None, controls.clock is not None]
