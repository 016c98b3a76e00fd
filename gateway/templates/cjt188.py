"""The shape of a template of a CJ/T 188 meter: where values lie in its answer, and how valve and clock are ordered."""

from collections.abc import Iterable
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from gateway.contract.quantities import EXPONENT_OF_PREFIXED_UNIT
from gateway.templates.base import DeviceTemplate, Strict
from gateway.templates.bcd import BcdRegister, HexByte, Ordered, SerialPreset
from gateway.templates.located import Finding, Loc

Identifier = Annotated[str, Field(pattern=r"^[0-9A-F]{4}$")]
"""Such as 901F, as documents write it."""
Offset = Annotated[int, Field(ge=0, le=96)]
"""Bytes into the answer's data, counted behind the serial number."""

UNIT_OF_CODE: Final = {
    "02": "Wh", "05": "kWh", "08": "MWh", "14": "W", "17": "kW", "1A": "MW",
    "29": "L", "2C": "m3", "32": "L/h", "35": "m3/h",
}  # fmt: skip
"""Units by the code that a meter sends behind a value. Joules (01 J, 0B kJ, 0E MJ, 11 GJ) are missing: their steps are
no whole watt-hours, which the registers of the contract count.

Sources: two independent public tables that agree (find_string 28203852031, 44349803261).
"""


class Value188(BcdRegister):
    """One value, and where it lies in which data item of the meter."""

    id: Identifier = "901F"
    offset: Offset
    unit_code: HexByte | None = None
    """The code that the meter sends behind the value: a value with another one is never used. Absent when it sends
    none."""

    @property
    def end(self) -> int:
        """First byte behind the value and its unit."""
        return self.offset + self.size + (self.unit_code is not None)

    @property
    def where(self) -> str:
        """Its place, for people."""
        return f"{self.id} @{self.offset} {self.type} {self.size}"

    @model_validator(mode="after")
    def _right_unit(self) -> Self:
        meant = UNIT_OF_CODE.get(self.unit_code or "")
        if meant and EXPONENT_OF_PREFIXED_UNIT[meant] != EXPONENT_OF_PREFIXED_UNIT[self.unit]:
            raise ValueError(f"expected unit {meant}, which code {self.unit_code} means")
        return self


class ValveControl(Ordered):
    """The valve of the meter: ordered by a write, seen in the status word."""

    id: Identifier = "A017"
    open: HexByte = "55"
    close: HexByte = "99"
    status: Identifier = "901F"
    status_offset: Offset
    mask: HexByte = "03"
    is_open: HexByte = "00"
    """What the mask leaves of the status byte while the valve is open."""
    is_closed: HexByte = "01"
    within_s: Annotated[float, Field(gt=0, le=300)] = 60.0

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        mask, states = int(self.mask, 16), {int(self.is_open, 16), int(self.is_closed, 16)}
        if len(states) < 2 or any(state & ~mask for state in states):
            raise ValueError("expected is_open and is_closed to differ and to lie inside the mask")
        return self


class ClockControl(Ordered):
    """The meter's clock: written in one piece, seen in the answer to a reading."""

    id: Identifier = "A015"
    status: Identifier = "901F"
    status_offset: Offset
    """Of the seven bytes of the time."""
    tolerance_s: Annotated[int, Field(ge=1, le=300)] = 10
    within_s: Annotated[float, Field(gt=0, le=300)] = 3.0
    every_s: Annotated[float, Field(gt=0, le=60)] = 1.0


class Controls(Strict):
    """What can be ordered."""

    valve: ValveControl | None = None
    clock: ClockControl | None = None


class Cjt188Template(DeviceTemplate):
    """One model of water or heat meter that speaks CJ/T 188."""

    protocol: Literal["cjt188"]
    kind: HexByte
    """T of the frame: 10 cold water, 11 hot water, 12 drinking water, 13 reclaimed water, 20 heat, 21 cooling."""
    id_order: Literal["high-first", "low-first"] = "high-first"
    """Whether the meter wants identifier 901F as 90 1F or as 1F 90."""
    repeats_serial: bool = True
    """Whether an answer has the serial number of its request, as it should."""
    lengths: dict[Identifier, Annotated[int, Field(ge=1, le=97)]]
    """Bytes of data behind the serial number, exactly, by item."""
    serial: SerialPreset = SerialPreset()
    pause_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Silence that the meter needs before a request."""
    controls: Controls = Controls()
    registers: Annotated[tuple[Value188, ...], Field(min_length=1)]

    def findings(self) -> Iterable[Finding]:
        """Also places that are not inside the answer."""
        yield from super().findings()
        for loc, name, end in self._places():
            if name not in self.lengths:
                yield loc, f"an item of lengths: {', '.join(self.lengths)}"
            elif end > self.lengths[name]:
                yield loc, f"a place inside the {self.lengths[name]} bytes of {name}"

    def _places(self) -> Iterable[tuple[Loc, str, int]]:
        for index, register in enumerate(self.registers):
            yield ("registers", index, "offset"), register.id, register.end
        if self.controls.valve is not None:
            yield (
                ("controls", "valve", "status_offset"),
                self.controls.valve.status,
                self.controls.valve.status_offset + 1,
            )
        if self.controls.clock is not None:
            yield (
                ("controls", "clock", "status_offset"),
                self.controls.clock.status,
                self.controls.clock.status_offset + 7,
            )
