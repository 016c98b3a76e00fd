"""A fee rule as the fields of a form and back. Pure.

In the form the usual schedule and those of classes are one list, `schedules`; the first is the usual one, each other
has its `class`. `way` says which of unit, steps and windows holds; what was typed into the others waits in the form.
The form builds the document that a YAML text would be: whether it is right is for the rule's own model to say.
"""

import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cloud.kit.calendars import DAY_TYPES
from cloud.kit.form_fields import read_document
from cloud.parking.fees.entered import amount, clock, code, minutes, whole
from cloud.parking.fees.models import Schedule

Shape = dict[str, Any]
"""What the fields hold: texts, lists of them, and rows; every part of a rule is there, empty where nothing is said."""
Document = dict[str, Any]
"""A rule as plain values of JSON, before it is known to be right."""
Place = tuple[str | int, ...]
"""Keys and positions from the top of a document to one of its values."""

PREFIX: Final = "r."
MOST_FIELDS: Final = 800
"""A request with more than 1000 fields is refused; the rest is for one more row."""
WAYS: Final = ("unit", "steps", "windows")


def _text(typed: str) -> str:
    return typed


_DAYS: Final = "days"
_STEP: Final[Mapping[str, Any]] = {"minutes": minutes, "price": amount, "up_to_minutes": minutes}
_WINDOW: Final[Mapping[str, Any]] = {
    "start": clock, "end": clock, "days": _DAYS, "minutes": minutes, "price": amount, "steps": [_STEP], "cap": amount,
}  # fmt: skip
_CAP: Final[Mapping[str, Any]] = {"within_minutes": minutes, "amount": amount}
_SCHEDULE: Final[Mapping[str, Any]] = {
    "free_minutes": minutes,
    "free_minutes_per": _text,
    "billing_from": _text,
    "first": {"minutes": minutes, "amount": amount},
    "unit": {"minutes": minutes, "price": amount},
    "steps": [_STEP],
    "windows": [_WINDOW],
    "caps": {
        "per_24_hours": amount,
        "per_calendar_day": amount,
        "escalating": [_CAP],
    },
    "charging": {"free_minutes_per_kwh": whole, "free_minutes_per_minute": whole, "at_most_minutes": minutes},
}
_HEAD: Final[Mapping[str, Any]] = {
    "name": _text, "source": _text, "currency": _text, "leave_within_minutes": minutes,
}  # fmt: skip
_IN_FORM: Final[Mapping[str, Any]] = {**_HEAD, "schedules": [{"class": code, "way": _text, **_SCHEDULE}]}
"""What a form holds: how the text of a field is read, a mapping for a part of several fields, a list for rows."""
_ROWS: Final = {"steps": _STEP, "windows": _WINDOW, "escalating": _CAP}
ROWS: Final = frozenset(_ROWS)
"""What a schedule or window has lists of."""
_CHOSEN: Final = {name: str(Schedule.model_fields[name].default) for name in ("free_minutes_per", "billing_from")}
"""What a choice says that is not made."""


def read_fields(fields: Iterable[tuple[str, str]]) -> Shape:
    """The shape that the fields of a form say; whatever is no field of ours is passed over."""
    return _held(read_document(fields, PREFIX), _IN_FORM)


def _held(node: Any, spec: Mapping[str, Any]) -> Shape:
    given = node if isinstance(node, dict) else {}
    found: Shape = {}
    for key, kind in spec.items():
        value = given.get(key)
        if isinstance(kind, Mapping):
            found[key] = _held(value, kind)
        elif isinstance(kind, list):
            found[key] = [_held(row, kind[0]) for row in value] if isinstance(value, list) else []
        elif kind == _DAYS:
            found[key] = [str(day) for day in value] if isinstance(value, list) else []
        else:
            found[key] = value if isinstance(value, str) else ""
    return found


def document_of(shape: Shape) -> Document:
    """The document that a shape says; what is empty is left unsaid. Of two classes with one name the later is kept."""
    found = _said(shape, _HEAD)
    schedules = [_schedule(one) for one in shape["schedules"]] or [{}]
    found["schedule"] = schedules[0]
    names = [code(one["class"]) for one in shape["schedules"][1:]]
    if names:
        found["classes"] = dict(zip(names, schedules[1:], strict=True))
    return found


def _schedule(shape: Shape) -> Document:
    found = _said(shape, _SCHEDULE)
    way = shape["way"] if shape["way"] in WAYS else WAYS[0]
    for other in WAYS:
        if other != way:
            found.pop(other, None)
    if way == "unit":
        found.setdefault("unit", {})
    return {key: value for key, value in found.items() if value != _CHOSEN.get(key)}


def _said(shape: Shape, spec: Mapping[str, Any]) -> Document:
    found: Document = {}
    for key, kind in spec.items():
        value = shape[key]
        if isinstance(kind, Mapping):
            said: Any = _said(value, kind) or None
        elif isinstance(kind, list):
            said = [_said(row, kind[0]) for row in value] or None
        elif kind == _DAYS:
            said = value if value != list(DAY_TYPES) else None
        else:
            said = kind(value) if value else None
        if said is not None:
            found[key] = said
    return found


def shape_of(document: Document) -> Shape | None:
    """The shape of a document, mistakes included; None when a form cannot show all of it."""
    try:
        unknown = set(document) - {*_HEAD, "schedule", "classes"}
        classes = {} if document.get("classes") is None else document["classes"]
        if unknown or not isinstance(classes, dict):
            return None
        found = _shown({key: document.get(key) for key in _HEAD}, _HEAD)
        schedules = [("", document.get("schedule")), *classes.items()]
        found["schedules"] = [_schedule_shape(_shown_text(name), one) for name, one in schedules]
    except _NotShown:
        return None
    return found if _count(found) <= MOST_FIELDS else None


class _NotShown(ValueError):
    """Something that no field shows."""


def _schedule_shape(name: str, schedule: Any) -> Shape:
    shape = _shown({} if schedule is None else schedule, _SCHEDULE)
    ways = [way for way in WAYS if schedule and schedule.get(way)]
    if len(ways) > 1:
        raise _NotShown(ways)
    for key, usual in _CHOSEN.items():
        shape[key] = shape[key] or usual
    return {"class": name, "way": ways[0] if ways else WAYS[0], **shape}


def _shown(node: Any, spec: Mapping[str, Any]) -> Shape:
    if not isinstance(node, dict) or set(node) - set(spec):
        raise _NotShown(node)
    found: Shape = {}
    for key, kind in spec.items():
        value = node.get(key)
        if isinstance(kind, Mapping):
            found[key] = _shown({} if value is None else value, kind)
        elif isinstance(kind, list):
            found[key] = [_shown(row, kind[0]) for row in _listed(value, [])]
        elif kind == _DAYS:
            found[key] = [_shown_text(day) for day in _listed(value, list(DAY_TYPES))]
        else:
            found[key] = _shown_text(value)
    return found


def empty_row(name: str) -> Shape:
    """A row of `steps`, `windows` or `escalating` in which nothing is typed yet."""
    return _held({}, _ROWS[name])


def _listed(value: Any, usual: list[Any]) -> list[Any]:
    if value is None:
        return usual
    if not isinstance(value, list):
        raise _NotShown(value)
    return value


def _shown_text(value: Any) -> str:
    """The text of a field. A browser's field has one line, and one of blanks only counts as empty."""
    if isinstance(value, dict | list):
        raise _NotShown(value)
    text = "" if value is None else value if isinstance(value, str) else str(value).lower()
    if (text and not text.strip()) or any(unicodedata.category(sign) in ("Cc", "Cs") for sign in text):
        raise _NotShown(value)
    return text


def has_room(shape: Shape) -> bool:
    """Whether a row may be added."""
    return _count(shape) < MOST_FIELDS


def _count(node: Any) -> int:
    values: Sequence[Any] = list(node.values()) if isinstance(node, dict) else node if isinstance(node, list) else ()
    return sum(map(_count, values)) if values else 1


def field_name(place: Place, shape: Shape) -> str:
    """The name of the field, row or part that shows a place of the document."""
    parts = list(place)
    if parts[:1] == ["schedule"]:
        parts[:1] = ["schedules", 0]
    elif parts[:1] == ["classes"] and len(parts) > 1:
        names = [code(one["class"]) for one in shape["schedules"][1:]]
        number = names.index(str(parts[1])) + 1 if parts[1] in names else 0
        parts = ["schedules", number, *("class" if part == "[key]" else part for part in parts[2:])]
    return PREFIX + ".".join(map(str, parts))
