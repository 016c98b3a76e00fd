"""What a site or a template says about report by exception: how far a value may move before it is told again."""

from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import Annotated, Final

from pydantic import Field, field_validator

from gateway.contract.quantities import BY_CODE, EXPONENT_OF_PREFIXED_UNIT, Kind
from gateway.templates.strict import Strict

PERCENT: Final = "%"


def band_of(channel: str, text: str) -> tuple[Fraction, bool]:
    """(width, whether it is a share of the value reported last) of a text such as '1.5 V' or '2 %'.

    An absolute width is in the base unit of the channel. Raises ValueError.
    """
    number, _, unit = text.strip().partition(" ")
    try:
        width = Fraction(Decimal(number))
    except (InvalidOperation, ValueError, OverflowError):
        raise ValueError(f"expected a decimal number and a unit such as '1.5 V' or '2 %', found {text!r}") from None
    if width < 0:
        raise ValueError(f"expected a number that is not negative, found {text!r}")
    if unit == PERCENT:
        return width / 100, True
    base, exponent = EXPONENT_OF_PREFIXED_UNIT.get(unit, ("", 0))
    wanted = BY_CODE[channel].unit
    if base != wanted:
        raise ValueError(f"expected % or a unit that converts to {wanted}, found {text!r}")
    return width * Fraction(10) ** exponent, False


class ReportSettings(Strict):
    """Report by exception: a value is told when it left its dead band, and at every heartbeat.

    Cumulative registers are always told, states whenever they change.
    """

    heartbeat_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    """Longest silence about a channel that is read; 900 when nobody says."""
    dead_bands: dict[str, str] = Field(default_factory=dict)
    """By channel: '1 V' in its unit, or '2 %' of the value told last. A channel that is not named has none: it is told
    at every change."""

    @field_validator("dead_bands")
    @classmethod
    def _fitting(cls, bands: dict[str, str]) -> dict[str, str]:
        for channel, text in bands.items():
            if channel not in BY_CODE:
                raise ValueError(f"expected codes of quantities such as voltage_l1, {channel} is none")
            if BY_CODE[channel].kind is not Kind.INSTANT:
                raise ValueError(f"expected momentary quantities: a {BY_CODE[channel].kind.value} one has no dead band")
            try:
                band_of(channel, text)
            except ValueError as error:
                raise ValueError(f"{channel}: {error}") from None
        return bands
