"""Numbers and codes of a tariff file: decimals in quotes, never floats, and a message a clerk can act on."""

import re
from decimal import Decimal
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from cloud.tariffs.model.problems import Wrong

UNIT_EXPONENTS = {"kWh": 3, "m3": 6, "piece": 0}
"""Decimals of a metered unit: usage is counted in integers of 10^-exponent of it (Wh, mL, pieces)."""

PERCENT_PLACES = 4
"""Decimals of a percentage: a share is an integer of 10^-(2 + PERCENT_PLACES)."""

_PRICE = r"^[0-9]{1,10}(\.[0-9]{1,8})?$"
_QUANTITY = r"^[0-9]{1,12}(\.[0-9]{1,6})?$"
_PERCENT = r"^-?[0-9]{1,4}(\.[0-9]{1,4})?$"
_FACTOR = r"^[0-9]{1,4}(\.[0-9]{1,4})?$"


def _decimal(pattern: str, code: str) -> BeforeValidator:
    def read(value: object) -> object:
        if isinstance(value, Decimal):
            value = format(value, "f")
        if isinstance(value, int) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or re.fullmatch(pattern, value) is None:
            raise Wrong(code, found=repr(value))
        return Decimal(value)

    return BeforeValidator(read)


_AS_TEXT = PlainSerializer(lambda value: format(value, "f"), return_type=str)

Price = Annotated[
    Decimal,
    _decimal(_PRICE, "price"),
    _AS_TEXT,
    WithJsonSchema({"type": "string", "pattern": _PRICE, "examples": ["0.4883"]}),
]
Quantity = Annotated[
    Decimal,
    _decimal(_QUANTITY, "quantity"),
    _AS_TEXT,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _QUANTITY}]}),
]
Percent = Annotated[
    Decimal,
    _decimal(_PERCENT, "percent"),
    _AS_TEXT,
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "string", "pattern": _PERCENT}]}),
]
Factor = Annotated[
    Decimal,
    _decimal(_FACTOR, "factor"),
    _AS_TEXT,
    WithJsonSchema({"anyOf": [{"type": "integer", "minimum": 0}, {"type": "string", "pattern": _FACTOR}]}),
]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,39}$")]


class Strict(BaseModel):
    """A part of a tariff: unknown keys are refused, and nothing changes afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True)
