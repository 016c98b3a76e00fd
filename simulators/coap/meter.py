"""What a simulated SenML meter shows and remembers; no network in here."""

from collections.abc import Sequence
from decimal import ROUND_FLOOR, Decimal
from typing import Final

from gateway.templates.senml import SenmlRecord, SenmlTemplate
from simulators.coap.senml import Fields, Value
from simulators.modbus.dwelling import Dwelling

_RESOLUTION: Final = Decimal("0.000001")
_OF_THE_DEVICE: Final = {"temperature_water": 12_400, "battery_voltage": 3_610, "valve_state": 1}
"""Channels that a dwelling does not have, in base units."""


class SenmlMeter:
    """Readings of one meter by its template. Times are whole seconds since 1970."""

    def __init__(self, base_name: str, template: SenmlTemplate, dwelling: Dwelling) -> None:
        self.base_name = base_name
        self.template = template
        self.dwelling = dwelling

    def shown(self, register: SenmlRecord, at_s: int) -> Value:
        """What the device writes for one record: rounded down to a millionth, as a counter that counts up would."""
        value = _OF_THE_DEVICE.get(register.channel)
        if value is None:
            value = self.dwelling.value(register.channel, at_s)
        if register.states:
            word = next(word for word, number in register.states.items() if number == value)
            return word == "true" if word in ("true", "false") else word
        return (Decimal(value) / register.factor).quantize(_RESOLUTION, ROUND_FLOOR).normalize()

    def pack(self, times_s: Sequence[int]) -> list[Fields]:
        """One pack with all records at each of `times_s`, oldest first; base fields in the first record only."""
        base = times_s[0]
        records: list[Fields] = []
        for at_s in times_s:
            for register in self.template.registers:
                shown = self.shown(register, at_s)
                label = "vb" if isinstance(shown, bool) else "vs" if isinstance(shown, str) else "v"
                fields: dict[str, Value] = {} if records else {"bn": self.base_name, "bt": base}
                fields["n"] = register.record
                if label == "v":
                    fields["u"] = register.unit if register.sent_as is None else register.sent_as
                if at_s != base:
                    fields["t"] = at_s - base
                records.append(fields | {label: shown})
        return records
