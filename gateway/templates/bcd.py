"""What templates of DL/T 645 and CJ/T 188 share: values as decimal digits or bits, lowest byte first."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from gateway.templates.base import Measured, Strict

HexByte = Annotated[str, Field(pattern=r"^[0-9A-F]{2}$")]
HexBits = Annotated[str, Field(pattern=r"^([0-9A-F]{2}){1,8}$")]
"""A number in hexadecimal digits, highest first, in quotes."""


class BcdRegister(Measured):
    """One value of a meter as its bytes, lowest first, say it."""

    size: Annotated[int, Field(ge=1, le=8)]
    """How many bytes the value takes."""
    type: Literal["bcd", "bits"] = "bcd"
    """Decimal digits in half bytes, or a binary number of which `mask` keeps some bits."""
    signed: bool = False
    """The highest bit is a minus sign."""
    mask: HexBits | None = None
    """Which bits count, of bits."""
    meanings: Annotated[dict[HexBits, int], Field(min_length=1)] | None = None
    """Value of the channel by what the mask leaves; anything else is no value. The number itself when absent."""

    @property
    def mask_bits(self) -> int:
        """The mask as a number: all bits when there is none."""
        return int(self.mask, 16) if self.mask else (1 << 8 * self.size) - 1

    @property
    def meaning_of(self) -> dict[int, int] | None:
        """`meanings` by number."""
        return None if self.meanings is None else {int(bits, 16): value for bits, value in self.meanings.items()}

    @model_validator(mode="after")
    def _of_its_type(self) -> Self:
        if self.type == "bits":
            return self._checked_bits()
        if self.mask is not None or self.meanings is not None:
            raise ValueError("expected mask and meanings only with type: bits")
        if self.digits is not None and self.digits > 2 * self.size:
            raise ValueError(f"expected at most {2 * self.size} digits in {self.size} bytes")
        if (10 ** (2 * self.size) - 1) * self.factor >= 1 << 63:
            raise ValueError("expected a scale at which the largest number keeps inside 64 bits")
        return self

    def _checked_bits(self) -> Self:
        if self.signed or self.scale != "1":
            raise ValueError("expected neither signed nor scale with type: bits")
        if self.mask_bits >= min(1 << 8 * self.size, 1 << 63):
            raise ValueError(f"expected a mask of {self.size} bytes, below bit 63")
        strange = [bits for bits in self.meaning_of or () if bits & ~self.mask_bits]
        if strange:
            raise ValueError(f"expected meanings inside the mask, found {strange[0]:02X}")
        return self


class Ordered(Strict):
    """How a state that was ordered shows itself: an order is carried out, and seen, only after a while."""

    within_s: Annotated[float, Field(gt=0, le=300)] = 30.0
    """The new state must be shown within this time."""
    every_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """How often it is looked at meanwhile."""


class SerialPreset(Strict):
    """Factory settings of the serial port."""

    baud_rate: Annotated[int, Field(ge=300, le=115_200)] = 2_400
    parity: Literal["none", "even", "odd"] = "even"
    data_bits: Literal[7, 8] = 8
    stop_bits: Literal[1, 2] = 1
