"""What the editor of a fee rule shows and what comes back from it: a form, or the same rule as YAML."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from cloud.kit.yaml_files import yaml_text
from cloud.parking.fees.form import Shape, document_of, has_room, read_fields, shape_of
from cloud.parking.fees.form_actions import act
from cloud.parking.fees.form_problems import FormProblem, read_shape
from cloud.parking.fees.form_words import CLASSES
from cloud.parking.fees.models import ParkingRule
from cloud.parking.fees.reading import Problem, read_rule, rule_text

Tab = Literal["form", "yaml"]
PUBLISH: Final = "publish"
TO_FORM: Final = "to-form"
TO_YAML: Final = "to-yaml"


@dataclass(frozen=True, slots=True)
class Editor:
    """The tab that is open and what it holds; `shape` is None where only YAML can say it.

    `text`: YAML; in the form what it began as, so that comments are still there if nothing was changed.
    `told`: whether to say what has to be filled in yet.
    """

    tab: Tab
    text: str
    shape: Shape | None
    rule: ParkingRule | None
    lines: tuple[Problem, ...] = ()
    problems: tuple[FormProblem, ...] = ()
    told: bool = True

    @property
    def fields(self) -> Mapping[str, FormProblem]:
        """The first problem of each field."""
        return {one.field: one for one in reversed(self.problems) if self.told or not one.open}

    @property
    def has_room(self) -> bool:
        """Whether a row may be added."""
        return self.shape is not None and has_room(self.shape)

    @property
    def classes(self) -> tuple[str, ...]:
        """Classes of vehicles that have no schedule of their own yet."""
        taken = {one["class"] for one in self.shape["schedules"]} if self.shape else set()
        return tuple(name for name in CLASSES if name not in taken)


def editor_of_rule(rule: ParkingRule, tab: Tab) -> Editor:
    """The editor with a rule to begin with."""
    return _of_text(rule_text(rule), tab)


def editor_sent(fields: Sequence[tuple[str, str]], tab: Tab, action: str) -> Editor:
    """The editor as it was sent, after what its button does. Raises InvalidInput for a text that is too long."""
    text = next((value for name, value in fields if name == "rule"), "")
    if tab == "yaml":
        return _of_text(text, "form" if action == TO_FORM else "yaml")
    shape = read_fields(fields)
    act(shape, action)
    rule, problems = read_shape(shape)
    if action == TO_YAML and not any(one.lost for one in problems):
        return _of_text(_yaml(text, shape, rule), "yaml")
    return Editor("form", text, shape, rule, problems=problems, told=action in ("", PUBLISH))


def _yaml(began: str, shape: Shape, rule: ParkingRule | None) -> str:
    """What a form says as YAML: the text that it began as, comments and all, if that still says the same."""
    if rule is None:
        return yaml_text(document_of(shape))
    return began if read_rule(began).rule == rule else rule_text(rule)


def _of_text(text: str, tab: Tab) -> Editor:
    """Of YAML; the form is for what it can show."""
    read = read_rule(text)
    shape = None if read.document is None else shape_of(read.document)
    if tab == "yaml" or shape is None:
        return Editor("yaml", text, shape, read.rule, lines=read.problems)
    rule, problems = read_shape(shape)
    return Editor("form", text, shape, rule, problems=problems)
