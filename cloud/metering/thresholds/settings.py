"""What can be said in the form of thresholds, read from the model: kind, unit, range and rule of every setting."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import cache
from types import NoneType
from typing import Any, Final, Literal, get_args, get_origin

from annotated_types import Ge, Le, MinLen
from pydantic.fields import FieldInfo

from cloud.metering.records import MAIN_CHANNEL, Medium, Rule
from cloud.metering.validation.thresholds import Thresholds

Kind = Literal["number", "numbers", "switch", "choice"]

_RULES: Final[tuple[Rule, ...]] = get_args(Rule)
_OF_RULE: Final = re.compile(r"V(\d+): ")
_MEDIA: Final[tuple[Medium, ...]] = get_args(Medium)
_YES, _NO = "yes", "no"
# The unit of a setting is the end of its name. Permilles are shown as percent, amounts as the medium is read.
_UNITS: Final[Mapping[str, tuple[str, int]]] = {
    "_permille": ("%", -1),
    "_days": ("days", 0),
    "_hours": ("hours", 0),
    "_s": ("seconds", 0),
}
_AMOUNTS: Final = ("_floor", "_per_day")
_FLOWS: Final = ("_per_hour", "_flow", "_load")
_PER_HOUR: Final[Mapping[str, str]] = {"kWh": "kW", "m³": "m³/h"}


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. `unit` is the one people use (a code of cloud/web/threshold_words.py or the unit itself).

    `exponent`: shown value = kept value × 10 ** exponent. `least` and `most` are kept values, inclusive. `count`: how
    many numbers belong to it. `rule`: the rule that goes by it, None for what belongs to no single one.
    """

    path: tuple[str, ...]
    kind: Kind
    rule: Rule | None
    unit: str = ""
    exponent: int = 0
    least: int = 0
    most: int = 0
    count: int = 1
    options: tuple[str, ...] = ()
    help: str = ""

    @property
    def name(self) -> str:
        """Its name in a form and in the API: dotted."""
        return ".".join(self.path)

    @property
    def decimals(self) -> int:
        """How many decimals can be kept of what is typed."""
        return -self.exponent

    def of(self, settings: Mapping[str, Any]) -> Any:
        """What these settings say of it, None when nothing."""
        found: Any = settings
        for part in self.path:
            found = found.get(part) if isinstance(found, Mapping) else None
        return found

    def shown(self, value: int) -> Decimal:
        """A number as people read it."""
        return Decimal(value).scaleb(self.exponent)

    def typed(self, value: Any) -> str:
        """A value as the form's field holds it."""
        if self.kind == "switch":
            return _YES if value else _NO
        if self.kind == "numbers":
            return " ".join(map(str, value))
        return f"{self.shown(value).normalize():f}" if self.kind == "number" else str(value)

    def read(self, text: str) -> Any:
        """The value of what was typed. Raises ValueError when it is not possible."""
        if self.kind == "number":
            return self._number(text)
        if self.kind == "numbers":
            numbers = [self._number(part) for part in text.split()]
            if len(numbers) != self.count or not any(numbers):
                raise ValueError("not so many numbers")
            return numbers
        if text not in self.options:
            raise ValueError("not one of the choices")
        return text == _YES if self.kind == "switch" else text

    def _number(self, text: str) -> int:
        try:
            value = Decimal(text.strip()).scaleb(-self.exponent)
        except InvalidOperation:
            raise ValueError("not a number") from None
        if not value.is_finite() or value != value.to_integral_value() or not self.least <= value <= self.most:
            raise ValueError("outside its range")
        return int(value)


def medium_of(meter_class: str) -> Medium:
    """What meters of a class measure."""
    return next(one for one in _MEDIA if meter_class.startswith(one))


@cache
def settings_of(medium: Medium) -> tuple[Setting, ...]:
    """Every setting of a meter of this medium, in the order of the model."""
    found: list[Setting] = []
    for name, field in Thresholds.model_fields.items():
        if get_origin(field.annotation) is dict:
            keys, values = get_args(field.annotation)
            found += [
                Setting((name, key), "choice", key if key in _RULES else None, options=get_args(values))
                for key in get_args(keys)
            ]
        else:
            found.append(_setting(name, field, medium))
    return tuple(found)


def _setting(name: str, field: FieldInfo, medium: Medium) -> Setting:
    rule, help_text = _described(field.description or "")
    if field.annotation is bool:
        return Setting((name,), "switch", rule, options=(_YES, _NO), help=help_text)
    if get_origin(field.annotation) is Literal:
        return Setting((name,), "choice", rule, options=get_args(field.annotation), help=help_text)
    if get_origin(field.annotation) is tuple:
        number = get_args(get_args(field.annotation)[0])[1]
        count = next(one.min_length for one in field.metadata if isinstance(one, MinLen))
        least, most = _range(number.metadata)
        return Setting((name,), "numbers", rule, least=least, most=most, count=count, help=help_text)
    kinds = {*get_args(field.annotation)} or {field.annotation}
    if not kinds <= {int, NoneType}:
        raise TypeError(f"the form of thresholds knows no fields like {name}")
    unit, exponent = _unit(name, medium)
    least, most = _range(field.metadata)
    return Setting((name,), "number", rule, unit, exponent, least, most, help=help_text)


def _described(text: str) -> tuple[Rule | None, str]:
    found = _OF_RULE.match(text)
    return (None, text) if found is None else (_RULES[int(found[1]) - 1], text[found.end() :])


def _range(metadata: list[Any]) -> tuple[int, int]:
    """Least and greatest value: what is typed in a form is bounded by both."""
    bounds: dict[type, Any] = {Ge: None, Le: None}
    bounds |= {type(one): one.ge if isinstance(one, Ge) else one.le for one in metadata if isinstance(one, Ge | Le)}
    return int(bounds[Ge]), int(bounds[Le])


def _unit(name: str, medium: Medium) -> tuple[str, int]:
    channel = MAIN_CHANNEL[medium]
    if name.endswith(_AMOUNTS):
        return channel.display_unit, channel.display_exponent
    if name.endswith(_FLOWS):
        return _PER_HOUR[channel.display_unit], channel.display_exponent
    return next((unit for end, unit in _UNITS.items() if name.endswith(end)), ("", 0))
