"""What differs between two fee rules, field by field, in a clerk's words. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cloud.kit import i18n
from cloud.parking.fees.form import Place
from cloud.parking.fees.form_problems import where
from cloud.parking.fees.form_words import CHOICES, DAYS
from cloud.parking.fees.models import ParkingRule


@dataclass(frozen=True, slots=True)
class Difference:
    """One field that differs: what it said (None: nothing), and what it says now."""

    where: str
    old: str | None
    new: str | None


def differences(old: ParkingRule, new: ParkingRule) -> list[Difference]:
    """All fields that differ, in the order of the new rule; rows are the same when their numbers are."""
    before, after = dict(_fields((), old.model_dump())), dict(_fields((), new.model_dump()))
    return [
        Difference(where(place), _said(place, before.get(place)), _said(place, after.get(place)))
        for place in {**after, **before}
        if before.get(place) != after.get(place)
    ]


def _fields(place: Place, node: Any) -> Iterator[tuple[Place, Any]]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield from _fields((*place, key), value)
    elif isinstance(node, list | tuple) and place[-1] != "days":
        for number, value in enumerate(node):
            yield from _fields((*place, number), value)
    else:
        yield place, node


def _said(place: Place, value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, tuple | list):
        return ", ".join(i18n.gettext(DAYS[day]) for day in value)
    if isinstance(value, int) and not str(place[-1]).startswith("free_minutes_per_"):
        return i18n.gettext("%(minutes)s min") % {"minutes": value}
    return i18n.gettext(CHOICES[value]) if value in CHOICES else str(value)
