"""What is wrong with what a form says: found by the rule's own model, said in a clerk's words beside a field."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cloud.kit import i18n
from cloud.kit.yaml_files import expectation
from cloud.parking.fees.entered import code
from cloud.parking.fees.form import Place, Shape, document_of, field_name
from cloud.parking.fees.form_words import CLASSES, DAYS, FIELDS, WORDS
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.problems import Wrong
from cloud.parking.fees.reading import rule_of

_PART: Final = re.compile(r"[^.\[\]]+")
_PATTERNS: Final = {"start": "clock", "end": "clock", "[key]": "class", "currency": "currency"}


@dataclass(frozen=True, slots=True)
class FormProblem:
    """One mistake: the field, row or part that shows it, where that is, and a sentence.

    `open`: it is only not filled in yet. `lost`: the document of the form does not say all that was typed.
    """

    field: str
    where: str
    sentence: str
    open: bool = False
    lost: bool = False


def read_shape(shape: Shape) -> tuple[ParkingRule | None, tuple[FormProblem, ...]]:
    """The rule that a form says, or all that is wrong with it."""
    twice = tuple(_named_twice(shape))
    try:
        rule = rule_of(document_of(shape))
    except ValidationError as error:
        return None, twice + tuple(_problem(detail, shape) for detail in error.errors(include_url=False))
    return (None if twice else rule), twice


def place_of(field: str) -> Place:
    """The place that a warning or problem names, such as `schedule.windows[0].price`."""
    return tuple(int(part) if part.isdecimal() else part for part in _PART.findall(field))


def where(place: Place) -> str:
    """A place in the language in use, such as `By the time of day › 2 › costs`."""
    parts: list[str] = []
    for before, part in zip(("", *place), place, strict=False):
        if isinstance(part, int):
            parts.append(str(part + 1))
        elif before == "classes":
            parts[-1:] = [class_name(part)]
        elif part != "[key]":
            parts.append(i18n.gettext(FIELDS.get(part, part)))
    return " › ".join(part for part in parts if part)


def class_name(name: str) -> str:
    """A class of vehicles in the language in use; its code where it has no name."""
    return i18n.gettext(CLASSES[name]) if name in CLASSES else name


def clerks_words(wrong: Wrong) -> str:
    """The sentence of a problem for who sees a form."""
    return _filled(wrong.code, wrong.values) if wrong.code in WORDS else wrong.sentence()


def _named_twice(shape: Shape) -> list[FormProblem]:
    """A document has each class once, so it cannot say this; a YAML text that does is refused as it is read."""
    names = [code(one["class"]) for one in shape["schedules"]]
    return [
        FormProblem(f"r.schedules.{number}.class", class_name(name), _filled("class-twice", {}), lost=True)
        for number, name in enumerate(names)
        if number and name in names[1:number]
    ]


def _problem(detail: ErrorDetails, shape: Shape) -> FormProblem:
    place: Place = detail["loc"]
    kind = detail["type"]
    cause = detail.get("ctx", {}).get("error")
    if isinstance(cause, Wrong):
        if cause.code == "decimals":
            place = place_of(str(cause.values["field"]))
        sentence = clerks_words(cause)
    elif kind == "string_pattern_mismatch" and place[-1] in _PATTERNS:
        sentence = i18n.gettext(WORDS[_PATTERNS[str(place[-1])]])
    elif kind in WORDS:
        sentence = _filled(kind, detail.get("ctx", {}))
    else:
        sentence = expectation(detail)
    is_open = kind in ("missing", "string_too_short") or (kind == "string_pattern_mismatch" and not detail["input"])
    return FormProblem(field_name(place, shape), where(place), sentence, is_open)


def _filled(key: str, values: Mapping[str, Any]) -> str:
    said = {
        name: i18n.gettext(DAYS[value]) if name in ("day", "before") and value in DAYS else value
        for name, value in values.items()
    }
    return i18n.gettext(WORDS[key]) % said
