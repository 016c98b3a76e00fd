"""The one table of quantities: what a channel measures, in which integer base unit, and how it behaves.

A channel of a device is named after its quantity (`energy_import_total`). The numbers are stored in the
database and never change meaning; new quantities get new numbers.
"""

from enum import Enum
from typing import Final, NamedTuple


class Kind(Enum):
    """How values of a quantity relate to each other in time."""

    CUMULATIVE = "cumulative"
    """A register that only counts up: usage is the difference of two values. Billing reads these."""

    INSTANT = "instant"
    """A momentary value: voltage, flow. The first to go when an outbox is full."""

    STATE = "state"
    """An enumeration or a set of flags: valve position, alarm bits."""


class Quantity(NamedTuple):
    """One row of the table: `number` is stored, `unit` is the base unit of the wire integer."""

    number: int
    code: str
    unit: str
    kind: Kind
    display_unit: str
    display_exponent: int
    """display value = wire value × 10 ** display_exponent, in `display_unit`."""


_C, _I, _S = Kind.CUMULATIVE, Kind.INSTANT, Kind.STATE

_ROWS: Final = (
    # electricity, cumulative
    Quantity(1, "energy_import_total", "Wh", _C, "kWh", -3),
    Quantity(2, "energy_import_sharp", "Wh", _C, "kWh", -3),
    Quantity(3, "energy_import_peak", "Wh", _C, "kWh", -3),
    Quantity(4, "energy_import_flat", "Wh", _C, "kWh", -3),
    Quantity(5, "energy_import_valley", "Wh", _C, "kWh", -3),
    Quantity(6, "energy_import_deep_valley", "Wh", _C, "kWh", -3),
    Quantity(7, "energy_export_total", "Wh", _C, "kWh", -3),
    Quantity(8, "reactive_energy_import_total", "varh", _C, "kvarh", -3),
    Quantity(9, "reactive_energy_export_total", "varh", _C, "kvarh", -3),
    Quantity(10, "energy_import_l1", "Wh", _C, "kWh", -3),
    Quantity(11, "energy_import_l2", "Wh", _C, "kWh", -3),
    Quantity(12, "energy_import_l3", "Wh", _C, "kWh", -3),
    Quantity(13, "energy_export_l1", "Wh", _C, "kWh", -3),
    Quantity(14, "energy_export_l2", "Wh", _C, "kWh", -3),
    Quantity(15, "energy_export_l3", "Wh", _C, "kWh", -3),
    Quantity(16, "apparent_energy_total", "VAh", _C, "kVAh", -3),
    Quantity(17, "energy_net_total", "Wh", _C, "kWh", -3),
    # electricity, momentary
    Quantity(30, "power_active_total", "W", _I, "kW", -3),
    Quantity(31, "power_active_l1", "W", _I, "kW", -3),
    Quantity(32, "power_active_l2", "W", _I, "kW", -3),
    Quantity(33, "power_active_l3", "W", _I, "kW", -3),
    Quantity(34, "power_reactive_total", "var", _I, "kvar", -3),
    Quantity(35, "power_reactive_l1", "var", _I, "kvar", -3),
    Quantity(36, "power_reactive_l2", "var", _I, "kvar", -3),
    Quantity(37, "power_reactive_l3", "var", _I, "kvar", -3),
    Quantity(38, "power_apparent_total", "VA", _I, "kVA", -3),
    Quantity(39, "power_apparent_l1", "VA", _I, "kVA", -3),
    Quantity(40, "power_apparent_l2", "VA", _I, "kVA", -3),
    Quantity(41, "power_apparent_l3", "VA", _I, "kVA", -3),
    Quantity(42, "voltage_l1", "mV", _I, "V", -3),
    Quantity(43, "voltage_l2", "mV", _I, "V", -3),
    Quantity(44, "voltage_l3", "mV", _I, "V", -3),
    Quantity(45, "voltage_l1_l2", "mV", _I, "V", -3),
    Quantity(46, "voltage_l2_l3", "mV", _I, "V", -3),
    Quantity(47, "voltage_l3_l1", "mV", _I, "V", -3),
    Quantity(48, "current_l1", "mA", _I, "A", -3),
    Quantity(49, "current_l2", "mA", _I, "A", -3),
    Quantity(50, "current_l3", "mA", _I, "A", -3),
    Quantity(51, "current_neutral", "mA", _I, "A", -3),
    Quantity(52, "power_factor_total", "1/1000", _I, "", -3),
    Quantity(53, "power_factor_l1", "1/1000", _I, "", -3),
    Quantity(54, "power_factor_l2", "1/1000", _I, "", -3),
    Quantity(55, "power_factor_l3", "1/1000", _I, "", -3),
    Quantity(56, "frequency", "mHz", _I, "Hz", -3),
    Quantity(57, "demand_active_max", "W", _I, "kW", -3),
    # water and heat
    Quantity(70, "volume_total", "mL", _C, "m³", -6),
    Quantity(71, "volume_reverse_total", "mL", _C, "m³", -6),
    Quantity(72, "heat_total", "Wh", _C, "kWh", -3),
    Quantity(73, "cooling_total", "Wh", _C, "kWh", -3),
    Quantity(80, "flow", "mL/h", _I, "m³/h", -6),
    Quantity(81, "temperature_supply", "m°C", _I, "°C", -3),
    Quantity(82, "temperature_return", "m°C", _I, "°C", -3),
    Quantity(83, "temperature_water", "m°C", _I, "°C", -3),
    Quantity(84, "pressure", "Pa", _I, "kPa", -3),
    Quantity(85, "power_heat", "W", _I, "kW", -3),
    # state
    Quantity(100, "battery_voltage", "mV", _I, "V", -3),
    Quantity(101, "valve_state", "state", _S, "", 0),
    Quantity(102, "relay_state", "state", _S, "", 0),
    Quantity(103, "alarm_flags", "flags", _S, "", 0),
    Quantity(104, "operating_time", "s", _C, "h", 0),
)

BY_CODE: Final[dict[str, Quantity]] = {row.code: row for row in _ROWS}
BY_NUMBER: Final[dict[int, Quantity]] = {row.number: row for row in _ROWS}

EXPONENT_OF_PREFIXED_UNIT: Final[dict[str, tuple[str, int]]] = {
    # unit in a device template -> (base unit, power of ten from that unit to the base unit)
    "Wh": ("Wh", 0), "kWh": ("Wh", 3), "MWh": ("Wh", 6),
    "varh": ("varh", 0), "kvarh": ("varh", 3), "Mvarh": ("varh", 6),
    "VAh": ("VAh", 0), "kVAh": ("VAh", 3), "MVAh": ("VAh", 6),
    "W": ("W", 0), "kW": ("W", 3), "MW": ("W", 6),
    "var": ("var", 0), "kvar": ("var", 3),
    "VA": ("VA", 0), "kVA": ("VA", 3),
    "mV": ("mV", 0), "V": ("mV", 3), "kV": ("mV", 6),
    "mA": ("mA", 0), "A": ("mA", 3), "kA": ("mA", 6),
    "mHz": ("mHz", 0), "Hz": ("mHz", 3),
    "1": ("1/1000", 3), "1/1000": ("1/1000", 0), "%": ("1/1000", 1),
    "mL": ("mL", 0), "L": ("mL", 3), "m3": ("mL", 6), "m³": ("mL", 6),
    "mL/h": ("mL/h", 0), "L/h": ("mL/h", 3), "m3/h": ("mL/h", 6), "m³/h": ("mL/h", 6),
    "m°C": ("m°C", 0), "°C": ("m°C", 3),
    "Pa": ("Pa", 0), "hPa": ("Pa", 2), "kPa": ("Pa", 3), "bar": ("Pa", 5), "MPa": ("Pa", 6),
    "s": ("s", 0), "state": ("state", 0), "flags": ("flags", 0),
}  # fmt: skip
