"""What people type about a meter, as the API takes it: local times, ratings in volts and amperes, blanks left out."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from cloud.kit.errors import InvalidInput
from cloud.kit.forms import local_instant as local_instant
from cloud.kit.forms import read as read
from cloud.kit.forms import typed as typed
from cloud.kit.forms import with_times as with_times
from cloud.metering.assets.ratings import digits_of
from cloud.metering.records import Medium, MeterRegister
from gateway.contract.quantities import BY_CODE

RATING_FIELDS: Final[Mapping[str, tuple[str, int]]] = {
    "voltage": ("voltage_v", 0),
    "current": ("max_current_ma", 3),
    "phases": ("phases", 0),
    "q3": ("q3_ml_per_h", 6),
    "q4": ("q4_ml_per_h", 6),
    "power": ("max_power_w", 3),
}
"""Field of a form: key of the rating, and the power of ten from what people type (A, m³/h, kW) to it."""


def with_rating(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the fields of the rating put together as `rating`. Raises InvalidInput."""
    rating = {key: _scaled(values[name], power, name) for name, (key, power) in RATING_FIELDS.items() if name in values}
    rest = {name: value for name, value in values.items() if name not in RATING_FIELDS}
    return {**rest, "rating": rating} if rating else rest


def with_interval(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with the interval as a number, where it is one: a list of numbers takes no text."""
    interval = values.get("interval_s")
    return {**values, "interval_s": int(interval)} if interval and str(interval).isdecimal() else dict(values)


def with_others(values: Mapping[str, Any]) -> dict[str, Any]:
    """The same with `final.<channel>` and `initial.<channel>` put together as `others`."""
    others: dict[str, dict[str, Any]] = {}
    rest: dict[str, Any] = {}
    for name, value in values.items():
        end, _, channel = name.partition(".")
        if end in ("final", "initial") and channel in BY_CODE:
            others.setdefault(channel, {"channel": channel})[end] = value
        else:
            rest[name] = value
    return {**rest, "others": tuple(others.values())} if others else rest


def face_of(medium: Medium, register: MeterRegister) -> dict[str, str]:
    """What a form about this register starts with."""
    face: dict[str, str] = {"serial": register.serial, "multiplier": f"{register.multiplier.normalize():f}"}
    digits = digits_of(medium, register.modulus, register.resolution)
    if digits is not None:
        face |= {"digits": str(digits.digits), "decimals": str(digits.decimals)}
    for name, (key, power) in RATING_FIELDS.items():
        if key in register.rating:
            face[name] = f"{Decimal(register.rating[key]).scaleb(-power).normalize():f}"
    return face


def _scaled(text: str, power: int, field: str) -> int:
    try:
        found = Decimal(text).scaleb(power)
        if found == found.to_integral_value():
            return int(found)
    except (InvalidOperation, OverflowError):
        pass
    raise InvalidInput("bad-rating", f"expected a number with at most {power} decimals", field=field)
