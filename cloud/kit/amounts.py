"""Amounts and quantities as documents of the API: decimal strings beside their currency or unit."""

from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, Field

from cloud.kit.money import minor_digits, round_half_up


class MoneyOut(BaseModel):
    """An amount and its currency."""

    amount: Annotated[str, Field(examples=["12.30"])]
    currency: Annotated[str, Field(examples=["CNY"])]

    @classmethod
    def of(cls, amount: Decimal, currency: str) -> "MoneyOut":
        """With as many decimals as the currency has."""
        return cls(amount=format(round_half_up(amount, minor_digits(currency)), "f"), currency=currency)


class QuantityOut(BaseModel):
    """A quantity and its unit."""

    quantity: Annotated[str, Field(examples=["123.456"])]
    unit: Annotated[str, Field(examples=["kWh"])]

    @classmethod
    def of(cls, quantity: Decimal, unit: str) -> "QuantityOut":
        """Without trailing zeros."""
        return cls(quantity=plain(quantity), unit=unit)


def plain(value: Decimal) -> str:
    """A decimal without trailing zeros and without exponent."""
    return format(value.normalize(), "f")
