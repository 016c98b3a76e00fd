"""The shape of a meter template: identity, transports, limits and registers, every fact with its source."""

from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from gateway.contract.quantities import BY_CODE, EXPONENT_OF_PREFIXED_UNIT, Kind, Quantity


class Strict(BaseModel):
    """Unknown keys are refused, values are not coerced."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, use_attribute_docstrings=True)


class Medium(StrEnum):
    """What a meter meters."""

    ELECTRICITY = "electricity"
    WATER = "water"


class RegisterType(StrEnum):
    """How a value lies in its registers: unsigned, signed or IEEE 754, and its bits."""

    U16 = "u16"
    S16 = "s16"
    U32 = "u32"
    S32 = "s32"
    U64 = "u64"
    S64 = "s64"
    F32 = "f32"
    F64 = "f64"

    @property
    def bits(self) -> int:
        """16, 32 or 64."""
        return int(self.value[1:])

    @property
    def registers(self) -> int:
        """How many 16-bit registers the value takes."""
        return self.bits // 16

    @property
    def is_float(self) -> bool:
        """Whether it is IEEE 754."""
        return self.value[0] == "f"

    @property
    def is_signed(self) -> bool:
        """Whether an integer of this type can be negative."""
        return self.value[0] == "s"


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


class Register(Strict):
    """One value of the device and where it lies."""

    channel: Annotated[str, AfterValidator(_known_channel), Field(json_schema_extra={"enum": [*BY_CODE]})]
    function: Literal[3, 4]
    """3 reads holding registers, 4 reads input registers."""
    address: Annotated[int, Field(ge=0, le=65_535)]
    """Zero-based, as it goes over the bus."""
    type: RegisterType
    scale: Scale = "1"
    """register value × scale = value in `unit`, exact."""
    unit: Annotated[str, AfterValidator(_known_unit), Field(json_schema_extra={"enum": [*EXPONENT_OF_PREFIXED_UNIT]})]
    word_order: Order | None = None
    """Which register of a value comes first; the template's order when absent."""
    byte_order: Order | None = None
    sentinels: tuple[int, ...] = ()
    """Raw values that mean "no value"."""
    digits: Annotated[int, Field(ge=1, le=19)] | None = None
    """A billing register starts again at 0 after 10 ** digits raw steps."""
    bounds: Bounds | None = None

    @property
    def quantity(self) -> Quantity:
        """The row of the contract's table that this register measures."""
        return BY_CODE[self.channel]

    @property
    def factor(self) -> Decimal:
        """Exact factor from the raw register value to the quantity's base unit."""
        return Decimal(self.scale).scaleb(EXPONENT_OF_PREFIXED_UNIT[self.unit][1])

    @property
    def modulus(self) -> int | None:
        """Where the register rolls over, in the base unit; None when the template does not say."""
        return None if self.digits is None else int(10**self.digits * self.factor)

    @model_validator(mode="after")
    def _convertible(self) -> Self:
        base = EXPONENT_OF_PREFIXED_UNIT[self.unit][0]
        if base != self.quantity.unit:
            raise ValueError(f"expected a unit that converts to {self.quantity.unit} for {self.channel}")
        cumulative = self.quantity.kind is Kind.CUMULATIVE
        if cumulative and not self.type.is_float and self.factor % 1:
            raise ValueError(f"expected a scale that gives whole {base}: a step of {self.factor} {base} is not exact")
        if self.digits is not None and not cumulative:
            raise ValueError("expected digits only on a cumulative register")
        if self.address + self.type.registers > 65_536:
            raise ValueError("expected all registers of the value below 65536")
        return self


class RtuPreset(Strict):
    """Factory settings of the serial port."""

    baud_rate: Annotated[int, Field(ge=300, le=921_600)] = 9_600
    data_bits: Literal[7, 8] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1
    unit_id: Annotated[int, Field(ge=1, le=247)] = 1


class TcpPreset(Strict):
    """Factory settings of the network port."""

    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    unit_id: Annotated[int, Field(ge=0, le=255)] = 1


class Transports(Strict):
    """How the device leaves the factory."""

    modbus_rtu: RtuPreset | None = None
    modbus_tcp: TcpPreset | None = None


class Limits(Strict):
    """What the device cannot bear."""

    max_registers: Annotated[int, Field(ge=1, le=125)] = 125
    """Most registers in one read."""
    refuses_holes: bool = False
    """Answers an exception when a read covers an address that it does not have."""
    pause_ms: Annotated[int, Field(ge=0, le=10_000)] = 0
    """Silence that the device needs between two requests."""


class Source(Strict):
    """Where the facts come from, and what each source covers."""

    reference: Annotated[str, Field(min_length=1)]
    covers: Annotated[str, Field(min_length=1)]


class MeterTemplate(Strict):
    """Everything there is to know about one model of meter."""

    vendor: Annotated[str, Field(min_length=1)]
    model: Annotated[str, Field(min_length=1)]
    medium: Medium
    proven: Literal["hardware", "documents", "document", "simulator"]
    """How the facts were checked: on a device, against two independent documents, taken from one, or ours alone."""
    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    transports: Transports
    limits: Limits = Limits()
    word_order: Order = "big"
    byte_order: Order = "big"
    registers: Annotated[tuple[Register, ...], Field(min_length=1)]
    notes: str = ""
