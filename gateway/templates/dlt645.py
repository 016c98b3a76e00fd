"""The shape of a template of a DL/T 645 meter: data identifiers, and how its relay and clock are ordered."""

from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.templates.base import DeviceTemplate, Strict
from gateway.templates.bcd import BcdRegister, HexBits, Ordered, SerialPreset
from gateway.templates.located import Finding

Identifier = Annotated[str, Field(pattern=r"^([0-9A-F]{4}|[0-9A-F]{8})$")]
"""DI3 DI2 DI1 DI0 as documents write it (1997: DI1 DI0)."""


class Item(BcdRegister):
    """One value, and in which data item of the meter it is."""

    id: Identifier
    """An item whose identifier has a byte FF is a block: several values in one answer."""
    position: Annotated[int, Field(ge=0, le=63)] = 0
    """Which value of a block: of energies 0 is the total, then tariff 1, 2 …; of phases 0 is A."""
    item_size: Annotated[int, Field(ge=1, le=32)] | None = None
    """Bytes from one value to the next, when more than the value itself is there (a demand and its time)."""

    @property
    def is_block(self) -> bool:
        """Whether the item carries several values: the answer may then be longer than asked for."""
        return b"\xff" in bytes.fromhex(self.id)

    @property
    def stride(self) -> int:
        """Bytes from one value of the item to the next."""
        return self.item_size or self.size

    @property
    def offset(self) -> int:
        """Where the value begins in the item's data."""
        return self.position * self.stride

    @property
    def where(self) -> str:
        """Its place, for people."""
        return (
            f"{self.id}[{self.position}] {self.type} {self.size}"
            if self.is_block
            else f"{self.id} {self.type} {self.size}"
        )

    @model_validator(mode="after")
    def _inside(self) -> Self:
        if self.stride < self.size:
            raise ValueError("expected item_size not below size")
        if self.position and not self.is_block:
            raise ValueError("expected position 0: only an identifier with a byte FF has several values")
        return self


class RelayControl(Ordered):
    """The relay of the meter: ordered by a control request, seen in a status word."""

    close: Literal["direct", "permit"] = "direct"
    """Closes at once, or permits closing: somebody presses the meter's button then."""
    status: Identifier = "04000503"
    status_size: Annotated[int, Field(ge=1, le=4)] = 2
    open_mask: HexBits = "0010"
    """Set while the relay is open."""
    ordered_open_mask: HexBits = "0040"
    """Set while the last order was to open."""
    valid_s: Annotated[int, Field(ge=30, le=86_400)] = 300
    """How long the meter may still obey the order, by its own clock."""


class ClockControl(Ordered):
    """The meter's clock: a date and a time that are written one after the other."""

    date: Identifier = "04000101"
    time: Identifier = "04000102"
    tolerance_s: Annotated[int, Field(ge=1, le=300)] = 10
    """How far the clock may be off when it is read back."""
    within_s: Annotated[float, Field(gt=0, le=300)] = 3.0
    every_s: Annotated[float, Field(gt=0, le=60)] = 1.0


class Controls(Strict):
    """What can be ordered; each needs the meter's password."""

    relay: RelayControl | None = None
    clock: ClockControl | None = None


class Dlt645Template(DeviceTemplate):
    """One model of electricity meter that speaks DL/T 645."""

    protocol: Literal["dlt645"]
    edition: Literal["2007", "1997"] = "2007"
    serial: SerialPreset = SerialPreset()
    pause_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Silence that the meter needs before a request."""
    controls: Controls = Controls()
    registers: Annotated[tuple[Item, ...], Field(min_length=1)]

    def findings(self) -> Iterable[Finding]:
        """Also identifiers of the other edition, and values of one block that overlap or differ in their step."""
        yield from super().findings()
        wanted = 8 if self.edition == "2007" else 4
        strides: dict[str, int] = {}
        for index, item in enumerate(self.registers):
            if len(item.id) != wanted:
                yield ("registers", index, "id"), f"{wanted} digits in an item of edition {self.edition}"
            if strides.setdefault(item.id, item.stride) != item.stride:
                yield ("registers", index, "item_size"), f"the same step for all values of block {item.id}"
        if self.edition == "1997" and (self.controls.relay or self.controls.clock):
            yield ("controls",), "none: only meters of edition 2007 are ordered"
