"""How a Modbus template says where a number lies and how a value is made of numbers."""

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import AfterValidator, Field, PrivateAttr, model_validator

from gateway.contract.quantities import BY_CODE, Kind, Quantity
from gateway.templates.base import Channel, Measured, Order, Scale, Strict

Address = Annotated[int, Field(ge=0, le=65_535)]
"""Zero-based, as it goes over the bus."""
ReadFunction = Literal[1, 2, 3, 4]
"""1 reads coils, 2 discrete inputs, 3 holding registers, 4 input registers."""


Span = tuple[ReadFunction, int, int]
"""Function, first address, address behind the last."""


class RegisterType(StrEnum):
    """How a number lies in its registers; the digits of the name are its bits, or its registers for MOD10."""

    U16 = "u16"
    S16 = "s16"
    U32 = "u32"
    S32 = "s32"
    U48 = "u48"
    S48 = "s48"
    U64 = "u64"
    S64 = "s64"
    F32 = "f32"
    F64 = "f64"
    BCD16 = "bcd16"
    BCD32 = "bcd32"
    BCD48 = "bcd48"
    BCD64 = "bcd64"
    MOD10X2 = "mod10x2"
    MOD10X3 = "mod10x3"
    MOD10X4 = "mod10x4"
    BIT = "bit"

    @property
    def bits(self) -> int:
        """1, 16, 32, 48 or 64."""
        return _BITS[self]

    @property
    def registers(self) -> int:
        """How many 16-bit registers the number takes; one coil or discrete input for a bit."""
        return max(1, self.bits // 16)

    @property
    def is_float(self) -> bool:
        """Whether it is IEEE 754."""
        return self.value[0] == "f"

    @property
    def is_signed(self) -> bool:
        """Whether it is an integer in two's complement."""
        return self.value[0] == "s"

    @property
    def is_bcd(self) -> bool:
        """Whether each four bits are a decimal digit."""
        return self.value.startswith("bcd")

    @property
    def is_mod10(self) -> bool:
        """Whether each register holds four decimal digits as a number from -9999 to 9999 (Schneider's MOD10)."""
        return self.value.startswith("mod10")


_BITS: Final = {
    kind: 1 if kind == "bit" else 16 * int(kind[-1]) if kind.startswith("mod10") else int(kind.strip("abcdefsu"))
    for kind in RegisterType
}


@dataclass(frozen=True, slots=True)
class Layout:
    """Where one number lies, with everything resolved that a template may leave to its defaults."""

    function: int
    address: int
    type: RegisterType
    word_order: Order = "big"
    byte_order: Order = "big"
    mask: int | None = None
    """Bits of the number that count, shifted down to the lowest of them."""
    sentinels: frozenset[int] = frozenset()
    """Numbers that mean "no value"; for BCD and MOD10 the registers' bits, which read in hex as they are shown."""

    @property
    def end(self) -> int:
        """First address behind the number."""
        return self.address + self.type.registers


class Bits(Strict):
    """How the bits of a number are to be read."""

    word_order: Order | None = None
    """Which register of a number comes first; the template's order when absent."""
    byte_order: Order | None = None
    """Which byte of a register comes first; the template's order when absent."""
    bit: Annotated[int, Field(ge=0, le=63)] | None = None
    """Only this bit of the number counts, 0 is the lowest."""
    mask: Annotated[int, Field(ge=1, le=2**64 - 1)] | None = None
    """Only these bits of the number count, shifted down to the lowest of them."""

    @property
    def counted(self) -> int | None:
        """`bit` or `mask` as a mask; None when all bits count."""
        return self.mask if self.bit is None else 1 << self.bit

    def refuse_bits(self, kind: RegisterType) -> None:
        """Raises ValueError when bit and mask do not fit a number of this type."""
        if self.counted is None:
            return
        if self.bit is not None and self.mask is not None:
            raise ValueError("expected one of bit and mask")
        if kind.value[0] != "u" and not kind.is_bcd:
            raise ValueError("expected bit or mask only on an unsigned or a BCD number")
        if self.counted // (self.counted & -self.counted) & (self.counted // (self.counted & -self.counted) + 1):
            raise ValueError("expected a mask of bits side by side")
        if self.counted >> kind.bits:
            raise ValueError(f"expected bit or mask inside the {kind.bits} bits of the number")


class Number(Bits):
    """One number of the device."""

    function: ReadFunction | None = None
    """That of the register it belongs to when absent."""
    address: Address
    type: RegisterType
    sentinels: tuple[int, ...] | None = None
    """Numbers that mean "no value"; the template's for this type when absent."""
    stride: int | None = None
    """Added to the address for each further one of `channels`; 0 when absent, for a part that of its register."""
    instance_stride: int | None = None
    """Added to the address for each further instance; the template's when absent, 0 for what all instances share."""

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self.refuse_bits(self.type)
        refuse_sentinels(self.type, self.sentinels)
        return self


class Part(Number):
    """One summand of a value that is spread over several numbers: kWh besides MWh, a fraction besides an integer."""

    scale: Scale = "1"
    """number × scale is added up; the register's own scale applies to the sum."""


class Exponent(Number):
    """The value is multiplied by 10 to the power of this number (SunSpec's scale factor)."""

    constant: bool = False
    """Never changes while the device runs: it is read on its own and kept, and read again now and then."""

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.type.is_float:
            raise ValueError("expected an exponent that is an integer")
        return self


class Factor(Number):
    """The value is multiplied by this number (or divided): a transformer's ratio, a scale, the code of a unit."""

    scale: Scale = "1"
    """The factor is number × scale."""
    values: dict[int, Scale] | None = None
    """Instead of a number the device gives a code; here is the factor that each code means."""
    constant: bool = False
    """Never changes while the device runs: it is read on its own and kept, and read again now and then."""

    @model_validator(mode="after")
    def _one_meaning(self) -> Self:
        if self.values is not None and (self.scale != "1" or self.type.is_float or not self.values):
            raise ValueError("expected values on an integer code, at least one, and no scale beside them")
        return self


class Sign(Number):
    """The value is negative when this number is one of `negative`."""

    negative: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.type.is_float:
            raise ValueError("expected a sign that is an integer")
        return self


def refuse_sentinels(kind: RegisterType, sentinels: tuple[int, ...] | None) -> None:
    """Raises ValueError for a sentinel that a number of this type can never be."""
    if kind.is_float:
        return
    low, high = (-(1 << (kind.bits - 1)), (1 << (kind.bits - 1)) - 1) if kind.is_signed else (0, (1 << kind.bits) - 1)
    for sentinel in sentinels or ():
        if not low <= sentinel <= high:
            raise ValueError(f"expected sentinels from {low} to {high}, {sentinel} never appears")


class Register(Measured, Bits):
    """One value of the device and where it lies: in one number, or in `parts` that are added up."""

    channel: Channel = ""
    channels: tuple[Channel, ...] = ()
    """Instead of `channel`: the same register again and again, `stride` addresses apart, for these in turn."""
    stride: int = 0
    function: ReadFunction
    """1 reads coils, 2 discrete inputs, 3 holding registers, 4 input registers."""
    address: Address | None = None
    """Zero-based, as it goes over the bus."""
    type: RegisterType | None = None
    sentinels: tuple[int, ...] | None = None
    """Numbers that mean "no value"; the template's for this type when absent."""
    instance_stride: int | None = None
    """Added to the address for each further instance; the template's when absent, 0 for what all instances share."""
    parts: tuple[Part, ...] = ()
    """Instead of address and type: numbers that are added up. They are always read together."""
    exponent: Exponent | None = None
    multipliers: tuple[Factor, ...] = ()
    divisors: tuple[Factor, ...] = ()
    sign: Sign | None = None
    values: dict[int, int] | None = None
    """Of a state: what each of the device's codes is in ours."""
    rounds: bool = False
    """The device counts in steps finer than the base unit, and the value is rounded: to be said of a billing value."""

    _entry: int = PrivateAttr(default=0)

    @property
    def entry(self) -> int:
        """Place in the file's list of registers; several share one that was repeated for `channels`."""
        return self._entry

    @property
    def quantity(self) -> Quantity:
        """The row of the contract's table that this value measures."""
        return BY_CODE[self.channel or self.channels[0]]

    @property
    def has_fixed_factor(self) -> bool:
        """Whether nothing that is read decides what a step of the device's number is worth."""
        return self.exponent is None and not self.multipliers and not self.divisors

    @property
    def is_exact(self) -> bool:
        """Whether a step of the device's number is known and an integer."""
        return not self.rounds and self.has_fixed_factor and self.type is not None and not self.type.is_float

    @property
    def terms(self) -> tuple[Part, ...]:
        """What is added up: the parts, or the one number of a plain register."""
        if self.parts:
            return self.parts
        assert self.address is not None
        assert self.type is not None
        plain = Part.model_construct(
            address=self.address, type=self.type, word_order=self.word_order, byte_order=self.byte_order,
            bit=self.bit, mask=self.mask, sentinels=self.sentinels, instance_stride=self.instance_stride,
        )  # fmt: skip
        return (plain,)

    @property
    def numbers(self) -> tuple[Number, ...]:
        """Every number that the value is made of: terms, exponent, multipliers, divisors, sign."""
        signs = (self.sign,) if self.sign else ()
        exponents = (self.exponent,) if self.exponent else ()
        return (*self.terms, *exponents, *self.multipliers, *self.divisors, *signs)

    @property
    def constants(self) -> "tuple[Exponent | Factor, ...]":
        """Exponents and factors that never change: read on their own."""
        exponents = (self.exponent,) if self.exponent else ()
        return tuple(one for one in (*exponents, *self.multipliers, *self.divisors) if one.constant)

    def span_of(self, number: Number) -> Span:
        """Where one of `numbers` lies."""
        return number.function or self.function, number.address, number.address + number.type.registers

    def span(self) -> Span:
        """Where all that must come in one answer lies, or else it would not be true together.

        That is everything but the constants. Raises ValueError when it lies in several functions.
        """
        constants = self.constants
        spans = [self.span_of(one) for one in self.numbers if one not in constants]
        if len({span[0] for span in spans}) > 1:
            raise ValueError("all that changes by one function; what never changes can be constant: true")
        return spans[0][0], min(span[1] for span in spans), max(span[2] for span in spans)

    @property
    def where(self) -> str:
        """Function, addresses and types of the numbers that make the value, for people."""
        return f"FC{self.function} " + " + ".join(f"@{one.address} {one.type.value}" for one in self.terms)

    def repeated(self) -> "tuple[Register, ...]":
        """One register for each of `channels`, or this one alone."""
        if not self.channels:
            return (self,)
        return tuple(self._for_channel(position, channel) for position, channel in enumerate(self.channels))

    def instance(self, number: int, stride: int) -> "Register":
        """The same register of instance `number` (from 0), `stride` addresses apart unless a number says otherwise."""
        own = stride if self.instance_stride is None else self.instance_stride
        return self._moved(lambda one: number * (own if one.instance_stride is None else one.instance_stride))

    def _for_channel(self, position: int, channel: str) -> "Register":
        def by(one: Number) -> int:
            if one.stride is None:
                return position * self.stride if isinstance(one, Part) else 0
            return position * one.stride

        moved = self._moved(by)
        return moved.model_copy(update={"channel": channel, "channels": (), "stride": 0})

    def _moved(self, by: Callable[[Number], int]) -> "Register":
        changes: dict[str, Any] = {}
        if self.address is not None:
            changes["address"] = self.address + by(self.terms[0])
        for name in ("parts", "multipliers", "divisors"):
            changes[name] = tuple(_shifted(one, by(one)) for one in getattr(self, name))
        for name in ("exponent", "sign"):
            one = getattr(self, name)
            changes[name] = None if one is None else _shifted(one, by(one))
        return self.model_copy(update=changes)

    def refuse_inconvertible(self) -> None:
        """Also names, places and meanings that contradict each other. Raises ValueError."""
        if (self.channel == "") == (not self.channels):
            raise ValueError("expected one of channel and channels")
        self._refuse_repetition()
        self._refuse_places()
        self._refuse_meaning()
        super().refuse_inconvertible()

    def _refuse_repetition(self) -> None:
        if self.stride and not self.channels:
            raise ValueError("expected a stride only beside channels")
        if len({(BY_CODE[one].unit, BY_CODE[one].kind) for one in self.channels}) > 1:
            raise ValueError("expected channels of one unit and kind")

    def _refuse_places(self) -> None:
        if self.parts:
            own = (self.address, self.type, self.sentinels, self.counted, self.word_order, self.byte_order)
            if any(one is not None for one in own):
                raise ValueError("expected place, type, orders and sentinels in the parts and not beside them")
        elif self.address is None or self.type is None:
            raise ValueError("expected address and type, or parts")
        else:
            self.refuse_bits(self.type)
            refuse_sentinels(self.type, self.sentinels)
        for one in self.numbers:
            function = one.function or self.function
            if (one.type is RegisterType.BIT) != (function in (1, 2)):
                raise ValueError(f"expected type bit with function 1 or 2 and only there, found it by {function}")

    def _refuse_meaning(self) -> None:
        if self.digits is not None and not self.has_fixed_factor:
            raise ValueError("expected digits only where no exponent, multiplier or divisor is read")
        if self.values is not None and (
            self.quantity.kind is not Kind.STATE or len(self.numbers) > 1 or self.terms[0].type.is_float
        ):
            raise ValueError("expected values only on a state that is one integer")
        base = self.quantity.unit
        for part in self.parts:
            step = Decimal(part.scale) * self.factor
            exact = self.rounds or part.type.is_float or not self.has_fixed_factor
            if self.quantity.kind is Kind.CUMULATIVE and not exact and step % 1:
                raise ValueError(
                    f"expected parts that give whole {base}, or rounds: a step of {step} {base} is not exact"
                )


N = TypeVar("N", bound=Number)


def _shifted(number: N, by: int) -> N:
    return number.model_copy(update={"address": number.address + by, "stride": None})


def expand(registers: tuple[Register, ...]) -> tuple[Register, ...]:
    """Every register once for each of its channels, knowing its place in the list."""
    expanded: list[Register] = []
    for entry, written in enumerate(registers):
        for register in written.repeated():
            register._entry = entry
            expanded.append(register)
    return tuple(expanded)


Registers = Annotated[tuple[Register, ...], Field(min_length=1), AfterValidator(expand)]
"""The list of registers of a file; once loaded, those with several channels are there once for each."""
