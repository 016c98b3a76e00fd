"""What every device template says, whatever its protocol: identity, media, sources, and what a value means."""

from collections.abc import Iterable
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.contract import limits
from gateway.contract.quantities import BY_CODE, EXPONENT_OF_PREFIXED_UNIT, Kind, Quantity
from gateway.templates.located import Finding, Loc
from gateway.templates.report import ReportSettings
from gateway.templates.strict import Strict as Strict


class Medium(StrEnum):
    """What a meter meters."""

    ELECTRICITY = "electricity"
    WATER = "water"
    HEAT = "heat"


def _decimal_text(text: str) -> str:
    try:
        number = Decimal(text)
    except InvalidOperation:
        raise ValueError("expected an exact decimal number in quotes, such as '0.01'") from None
    if not number.is_finite():
        raise ValueError("expected a finite decimal number in quotes")
    return text


def _positive_decimal_text(text: str) -> str:
    if Decimal(_decimal_text(text)) <= 0:
        raise ValueError("expected a decimal number above 0 in quotes")
    return text


DecimalText = Annotated[str, AfterValidator(_decimal_text)]
Scale = Annotated[str, AfterValidator(_positive_decimal_text)]
Order = Literal["big", "little"]


def _known_channel(code: str) -> str:
    if code not in BY_CODE:
        raise ValueError("expected the code of a quantity, such as energy_import_total")
    return code


Channel = Annotated[str, AfterValidator(_known_channel), Field(json_schema_extra={"enum": [*BY_CODE]})]
"""The code of a quantity."""


def _known_unit(unit: str) -> str:
    if unit not in EXPONENT_OF_PREFIXED_UNIT:
        raise ValueError(f"expected one of {', '.join(EXPONENT_OF_PREFIXED_UNIT)}")
    return unit


class Bounds(Strict):
    """Plausible values in the template's unit; a value outside is kept and flagged out-of-range."""

    low: DecimalText
    high: DecimalText

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if Decimal(self.low) > Decimal(self.high):
            raise ValueError("expected low not above high")
        return self


class Measured(Strict):
    """One value of a device: which quantity it is, and how the device's number becomes one of ours."""

    channel: Channel
    scale: Scale = "1"
    """device's number × scale = value in `unit`, exact."""
    unit: Annotated[str, AfterValidator(_known_unit), Field(json_schema_extra={"enum": [*EXPONENT_OF_PREFIXED_UNIT]})]
    digits: Annotated[int, Field(ge=1, le=19)] | None = None
    """A billing register starts again at 0 after 10 ** digits steps of the device's number."""
    bounds: Bounds | None = None

    @property
    def quantity(self) -> Quantity:
        """The row of the contract's table that this value measures."""
        return BY_CODE[self.channel]

    @property
    def factor(self) -> Decimal:
        """Exact factor from the device's number to the quantity's base unit."""
        return Decimal(self.scale).scaleb(EXPONENT_OF_PREFIXED_UNIT[self.unit][1])

    @property
    def modulus(self) -> int | None:
        """Where the register rolls over, in the base unit; None when the template does not say."""
        return None if self.digits is None else int(10**self.digits * self.factor)

    @property
    def plausible(self) -> tuple[int, int]:
        """Lowest and highest plausible value in the base unit; what 64 bits hold when the template does not say."""
        if self.bounds is None:
            return limits.MIN_VALUE, limits.MAX_VALUE
        exponent = EXPONENT_OF_PREFIXED_UNIT[self.unit][1]
        low, high = (Decimal(text).scaleb(exponent) for text in (self.bounds.low, self.bounds.high))
        return max(int(low.to_integral_value()), limits.MIN_VALUE), min(int(high.to_integral_value()), limits.MAX_VALUE)

    @property
    def is_exact(self) -> bool:
        """Whether every step of the device's number is an integer; a billing value then needs a whole factor."""
        return True

    @model_validator(mode="after")
    def _convertible(self) -> Self:
        self.refuse_inconvertible()
        return self

    def refuse_inconvertible(self) -> None:
        """Raises ValueError when unit, scale and digits do not fit the quantity."""
        base = EXPONENT_OF_PREFIXED_UNIT[self.unit][0]
        if base != self.quantity.unit:
            raise ValueError(f"expected a unit that converts to {self.quantity.unit} for {self.channel}")
        cumulative = self.quantity.kind is Kind.CUMULATIVE
        if cumulative and self.is_exact and self.factor % 1:
            raise ValueError(f"expected a scale that gives whole {base}: a step of {self.factor} {base} is not exact")
        if self.digits is not None and not cumulative:
            raise ValueError("expected digits only on a cumulative register")


class Source(Strict):
    """Where the facts come from, and what each source covers."""

    reference: Annotated[str, Field(min_length=1)]
    covers: Annotated[str, Field(min_length=1)]


class DeviceTemplate(Strict):
    """What is known about one model of meter; each protocol adds where its values lie."""

    vendor: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    medium: Medium
    proven: Literal["hardware", "documents", "document", "simulator"]
    """How the facts were checked: on a device, against two independent documents, taken from one, or ours alone."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    notes: str = ""
    report: ReportSettings | None = None
    """Dead bands that suit the device, for sites that report by exception."""
    protocol: str
    registers: Annotated[tuple[Measured, ...], Field(min_length=1)]

    def places(self) -> Iterable[Loc]:
        """Where in the file each of `registers` is written."""
        return (("registers", index) for index in range(len(self.registers)))

    def findings(self) -> Iterable[Finding]:
        """What only the whole template shows."""
        seen: set[str] = set()
        for place, register in zip(self.places(), self.registers, strict=True):
            if register.channel in seen:
                yield (*place, "channel"), f"each channel once, {register.channel} is repeated"
            seen.add(register.channel)
