"""A fee rule as YAML text and back, for the page on which it is written; problems are said in the reader's words."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from cloud.kit.errors import InvalidInput
from cloud.kit.yaml_files import InvalidFile, expectation, parse_yaml, yaml_text
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.problems import Wrong

MOST_CHARACTERS = 50_000


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with a text: its line (0: nowhere in particular), the field, and a sentence."""

    line: int
    field: str
    sentence: str


@dataclass(frozen=True, slots=True)
class Read:
    """A text that was read: the rule, or what is wrong with it; `document` is what it says, None if it is no YAML."""

    rule: ParkingRule | None
    problems: tuple[Problem, ...]
    document: dict[str, Any] | None = None


def rule_text(rule: ParkingRule) -> str:
    """YAML of what a rule says, without what goes without saying; reading it gives the same rule."""
    return yaml_text(rule.model_dump(mode="json", exclude_defaults=True))


def rule_of(document: object) -> ParkingRule:
    """The rule that plain values of JSON say, whoever wrote them. Raises pydantic's ValidationError."""
    return ParkingRule.model_validate_json(json.dumps(document), strict=True)


def read_rule(text: str) -> Read:
    """Reads a rule that somebody wrote. Raises InvalidInput when it is too long to be one."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput("too-large", f"at most {MOST_CHARACTERS} characters", field="rule")
    try:
        document = parse_yaml(text.replace("\r\n", "\n"), Path("YAML"))
        return Read(rule_of(document.content), (), document.content)
    except InvalidFile as error:
        return Read(None, tuple(Problem(one.line, one.key, one.expected) for one in error.problems))
    except ValidationError as error:
        problems = []
        for detail in error.errors(include_url=False):
            found = document.problem(detail["loc"], _sentence(detail))
            problems.append(Problem(found.line, found.key, found.expected))
        return Read(None, tuple(problems), document.content)


def _sentence(detail: ErrorDetails) -> str:
    cause = detail.get("ctx", {}).get("error")
    return cause.sentence() if isinstance(cause, Wrong) else expectation(detail)
