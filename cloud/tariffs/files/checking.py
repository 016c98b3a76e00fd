"""Checks a tariff as plain values and tells every problem with its place, in words that a clerk understands."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cloud.kit import i18n
from cloud.kit.errors import InvalidInput
from cloud.tariffs.model.places import Place, where
from cloud.tariffs.model.problem_words import WORDS
from cloud.tariffs.model.problems import Wrong, Wrongs
from cloud.tariffs.model.tariff import TariffContent

_MOST_SAID: Final = 10

Document = dict[str, Any]
"""A tariff as plain values of JSON: what a file says, before it is known to be right."""

_FORMS: Final[Mapping[str, str]] = {
    "missing": "missing",
    "extra_forbidden": "unknown-key",
    "literal_error": "choice",
    "string_pattern_mismatch": "form",
    "string_type": "text",
    "too_short": "too-few",
    "too_long": "too-many",
    "string_too_long": "form",
    "int_type": "whole-number",
    "int_parsing": "whole-number",
    "greater_than_equal": "whole-number",
    "less_than_equal": "whole-number",
    "union_tag_invalid": "kind",
    "union_tag_not_found": "kind",
}
"""Codes of ours for what pydantic finds; everything else is another kind of value than expected."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong: its place in the document, its code and the values of its sentence."""

    place: Place
    code: str
    values: Mapping[str, object] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The place as forms and problem documents name it: components.0.prices.all.1."""
        return ".".join(map(str, self.place))

    @property
    def sentence(self) -> str:
        """What was expected, in the language in use."""
        return i18n.gettext(WORDS[self.code]) % self.values

    def where(self, document: Document) -> str:
        """The place in words, in the language in use."""
        return where(self.place, document)


class InvalidContent(InvalidInput):
    """A tariff with mistakes: it cannot be handed in or published."""

    def __init__(self, problems: Sequence[Problem], document: Document) -> None:
        said = "; ".join(f"{problem.where(document)}: {problem.sentence}" for problem in problems[:_MOST_SAID])
        super().__init__("draft-has-mistakes", said, field=f"content.{problems[0].name}")
        self.problems = tuple(problems)

    @property
    def fields(self) -> tuple[tuple[str, str], ...]:
        """Every mistake with its place in the content."""
        return tuple((f"content.{problem.name}", problem.sentence) for problem in self.problems)


def read(document: Document) -> TariffContent:
    """The content of a document without mistakes. Raises InvalidContent with all there are."""
    content, problems = check(document)
    if content is None:
        raise InvalidContent(problems, document)
    return content


def check(document: Document) -> tuple[TariffContent | None, tuple[Problem, ...]]:
    """The content, or None and all that is wrong with it."""
    try:
        return TariffContent.model_validate_json(json.dumps(document), strict=True), ()
    except ValidationError as error:
        found = [problem for one in error.errors(include_url=False) for problem in _problems(one, document)]
        return None, tuple(found)


def _problems(detail: ErrorDetails, document: Document) -> Iterator[Problem]:
    place = _place(detail["loc"])
    error = detail.get("ctx", {}).get("error")
    if isinstance(error, Wrong | Wrongs):
        for wrong in error.found if isinstance(error, Wrongs) else (error,):
            yield Problem(_inside(place, wrong, document), wrong.code, wrong.values)
        return
    context = detail.get("ctx", {})
    if detail["type"] == "too_short" and len(detail["input"]) >= context["min_length"]:
        return  # its parts are wrong, which is told already
    values = {
        "found": _shown(detail["input"]),
        "expected": context.get("expected", ""),
        "least": context.get("min_length", ""),
        "most": context.get("max_length", ""),
        "count": context.get("actual_length", ""),
    }
    yield Problem(place, _FORMS.get(detail["type"], "structure"), values)


def _place(loc: tuple[int | str, ...]) -> Place:
    """Where it is in the document: without the kind of the component and the mark of a key that pydantic adds."""
    parts = [part for part in loc if part != "[key]"]
    if len(parts) > 2 and parts[0] == "components":
        del parts[2]
    return tuple(parts)


def _inside(place: Place, wrong: Wrong, document: Document) -> Place:
    if wrong.component is None or place:
        return (*place, *wrong.at)
    codes = [part["code"] for part in document["components"]]
    return ("components", codes.index(wrong.component), *wrong.at)


def _shown(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "…"
