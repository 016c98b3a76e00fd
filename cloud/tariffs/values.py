"""Numbers and codes of a tariff file: decimals in quotes, never floats, and a message a clerk can act on."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

UNIT_EXPONENTS = {"kWh": 3, "m3": 6, "piece": 0}
"""Decimals of a metered unit: usage is counted in integers of 10^-exponent of it (Wh, mL, pieces)."""

PERCENT_PLACES = 4
"""Decimals of a percentage: a share is an integer of 10^-(2 + PERCENT_PLACES)."""

_PRICE = r"^[0-9]{1,10}(\.[0-9]{1,8})?$"
_QUANTITY = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
_PERCENT = r"^-?[0-9]{1,4}(\.[0-9]{1,4})?$"
_FACTOR = r"^[0-9]{1,4}(\.[0-9]{1,4})?$"


def _decimal(pattern: str, expected: str) -> BeforeValidator:
    def read(value: object) -> object:
        if isinstance(value, Decimal):
            value = format(value, "f")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise ValueError(f"{expected}, found {value!r}")
        return Decimal(value)

    return BeforeValidator(read)


_AS_TEXT = PlainSerializer(lambda value: format(value, "f"), return_type=str)

Price = Annotated[
    Decimal,
    _decimal(_PRICE, 'a price of 0 or more with at most 8 decimals, in quotes, such as "0.4883"'),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "pattern": _PRICE, "examples": ["0.4883"]}),
]
Quantity = Annotated[
    Decimal,
    _decimal(_QUANTITY, "a quantity, 0 or more, a whole number or a decimal in quotes"),
    _AS_TEXT,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _QUANTITY}]}),
]
Percent = Annotated[
    Decimal,
    _decimal(_PERCENT, 'a percentage with at most 4 decimals, in quotes, such as "13" or "-0.75"'),
    _AS_TEXT,
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": _PERCENT}]}),
]
Factor = Annotated[
    Decimal,
    _decimal(_FACTOR, 'a factor of 0 or more with at most 4 decimals, in quotes, such as "0.9"'),
    _AS_TEXT,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _FACTOR}]}),
]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class Strict(BaseModel):
    """A part of a tariff: unknown keys are refused, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)
