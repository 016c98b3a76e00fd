"""What the meter of one dwelling shows now, for any channel that a template may ask for."""

import math
from collections.abc import Callable
from typing import Final
from zoneinfo import ZoneInfo

import numpy as np

from gateway.contract.quantities import BY_CODE, Kind
from simulators.modbus import curves

_WINDOW_SLOTS: Final = 48
_ML_PER_WH: Final = 43


class Dwelling:
    """Values of one device in base units. Cumulative ones are exactly those of `curves.cumulative`."""

    def __init__(self, seed: int, device: str, medium: str, tz: ZoneInfo) -> None:
        self._seed, self._device, self._medium, self._tz = seed, device, medium, tz
        self._windows: dict[str, tuple[int, int, list[int]]] = {}
        """channel -> (first slot, register at its start, amounts of the slots from there)"""

    def value(self, channel: str, at_s: int) -> int:
        """The channel's value at second `at_s` since 1970; 0 for states and what a dwelling does not have."""
        shown = _SHOWN.get(channel)
        if shown is not None:
            return shown(self, at_s)
        return self.register(channel, at_s) if channel in _CURVES else 0

    def register(self, channel: str, at_s: int) -> int:
        """A curve's register, from a window of slots that is computed once a day."""
        slot = curves.slot_of(at_s)
        first, start, amounts = self._windows.get(channel, (0, 0, []))
        if not first <= slot < first + len(amounts):
            first, start, amounts = self._windows[channel] = self._window(channel, slot)
        index = slot - first
        running = amounts[index] * curves.elapsed_in_slot(at_s) // curves.SLOT_S
        return start + sum(amounts[:index]) + running

    def total(self, at_s: int) -> int:
        """The register that counts everything the meter's medium brings."""
        return self.register(curves.TOTAL[self._medium], at_s)

    def rate(self, at_s: int) -> int:
        """Mean power in W, or flow in mL/h, of the running slot."""
        channel = curves.TOTAL[self._medium]
        self.register(channel, at_s)
        first, _, amounts = self._windows[channel]
        return amounts[curves.slot_of(at_s) - first] * 3_600 // curves.SLOT_S

    def water(self, amount: int) -> int:
        """mL that go with an amount of the medium: itself, or what carries so many Wh of heat at 20 K."""
        return amount * _ML_PER_WH if self._medium == "heat" else amount

    def millivolt(self, at_s: int, phase: int) -> int:
        """A mains voltage that wanders by 3 V over some minutes, each phase for itself."""
        swing = math.sin(at_s / 97 + phase * 2.1 + self._seed) + math.sin(at_s / 31 + len(self._device) + phase)
        return 230_000 + round(1_500 * swing)

    def milliampere(self, at_s: int, phase: int, share: int) -> int:
        """Current that carries 1/share of the power at a power factor of 0.95."""
        return self.rate(at_s) * 1_000_000_000 // (share * 950 * self.millivolt(at_s, phase))

    def _window(self, channel: str, slot: int) -> tuple[int, int, list[int]]:
        amounts = curves.slot_amounts(self._seed, self._device, self._medium, self._tz, slot + _WINDOW_SLOTS, channel)
        before = int(np.sum(amounts[:slot]))
        start = curves.starting_value(self._seed, self._device, self._medium, channel) + before
        return slot, start, [int(amount) for amount in amounts[slot:]]


_CURVES: Final = frozenset((*curves.TOTAL.values(), *curves.PERIODS))

_SHOWN: Final[dict[str, Callable[[Dwelling, int], int]]] = {
    "power_active_total": lambda home, at: home.rate(at),
    "power_apparent_total": lambda home, at: home.rate(at) * 1000 // 950,
    "power_reactive_total": lambda home, at: home.rate(at) * 33 // 100,
    "power_factor_total": lambda _home, _at: 950,
    "frequency": lambda _home, at: 50_000 + round(20 * math.sin(at / 53)),
    "energy_export_total": lambda home, at: home.total(at) // 50,
    "energy_net_total": lambda home, at: home.total(at) - home.total(at) // 50,
    "reactive_energy_import_total": lambda home, at: home.total(at) // 3,
    "reactive_energy_export_total": lambda home, at: home.total(at) // 70,
    "apparent_energy_total": lambda home, at: home.total(at) * 1000 // 950,
    "energy_import_sharp": lambda home, at: home.register("energy_import_peak", at) // 6,
    "energy_import_deep_valley": lambda home, at: home.register("energy_import_valley", at) // 4,
    "demand_active_max": lambda _home, _at: 7_350,
    "current_neutral": lambda home, at: home.milliampere(at, 1, 40),
    "voltage_l1_l2": lambda home, at: home.millivolt(at, 1) * 1732 // 1000,
    "voltage_l2_l3": lambda home, at: home.millivolt(at, 2) * 1732 // 1000,
    "voltage_l3_l1": lambda home, at: home.millivolt(at, 3) * 1732 // 1000,
    "volume_total": lambda home, at: home.water(home.total(at)),
    "volume_reverse_total": lambda home, at: home.water(home.total(at)) // 400,
    "flow": lambda home, at: home.water(home.rate(at)),
    "cooling_total": lambda home, at: home.total(at) // 9,
    "power_heat": lambda home, at: home.rate(at),
    "temperature_supply": lambda _home, at: 68_000 + round(2_000 * math.sin(at / 600)),
    "temperature_return": lambda _home, at: 48_000 + round(1_500 * math.sin(at / 600)),
    "temperature_water": lambda _home, at: 14_000 + round(500 * math.sin(at / 900)),
    "pressure": lambda _home, at: 350_000 + round(20_000 * math.sin(at / 300)),
    "battery_voltage": lambda _home, _at: 3_600,
    "operating_time": lambda _home, at: at - 1_700_000_000,
} | {
    f"{name}_l{phase}": shown
    for phase in (1, 2, 3)
    for name, shown in (
        ("voltage", lambda home, at, phase=phase: home.millivolt(at, phase)),
        ("current", lambda home, at, phase=phase: home.milliampere(at, phase, 3)),
        ("power_active", lambda home, at: home.rate(at) // 3),
        ("power_apparent", lambda home, at: home.rate(at) * 1000 // 950 // 3),
        ("power_reactive", lambda home, at: home.rate(at) * 33 // 100 // 3),
        ("power_factor", lambda _home, _at: 950),
        ("energy_import", lambda home, at: home.total(at) // 3),
        ("energy_export", lambda home, at: home.total(at) // 150),
    )
}


def is_cumulative(channel: str) -> bool:
    """Whether the channel is a register that only counts up."""
    return BY_CODE[channel].kind is Kind.CUMULATIVE
