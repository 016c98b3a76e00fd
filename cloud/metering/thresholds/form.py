"""The form of thresholds: what each field shows, where a value comes from, what was typed, what changed before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final, Literal, get_args

from cloud.kit.errors import InvalidInput
from cloud.metering.records import Rule
from cloud.metering.thresholds.overrides import Override
from cloud.metering.thresholds.settings import Setting, medium_of, settings_of
from cloud.metering.validation.thresholds import Thresholds, merged

Source = Literal["built-in", "class", "project", "meter"]
Problem = Literal["number", "numbers", "choice", "order"]
"""What was expected of a field and not typed; `order`: at most the upper bound that belongs to it."""

_LOW, _HIGH = "_low_", "_high_"
_BUILT_IN: Final = Thresholds().model_dump()


@dataclass(frozen=True, slots=True)
class FormField:
    """One setting in the form. `text`: what is said here, empty for nothing; then `inherited` counts."""

    setting: Setting
    text: str
    inherited: Any
    in_force: Any
    source: Source
    problem: Problem | Literal[""] = ""


@dataclass(frozen=True, slots=True)
class FieldGroup:
    """The fields of one rule; None: of no single one. `number`: of the rule (V1 to V18), 0 for none."""

    rule: Rule | None
    number: int
    fields: list[FormField]


@dataclass(frozen=True, slots=True)
class TypedForm:
    """What was typed: the settings that differ, and by name what is wrong."""

    settings: dict[str, Any]
    problems: dict[str, Problem]


@dataclass(frozen=True, slots=True)
class SettingChange:
    """A setting said otherwise than before; None: nothing was, or is, said."""

    setting: Setting
    before: Any
    after: Any


def groups(override: Override, typed: Mapping[str, str] | None = None, problems: Mapping[str, Problem] | None = None
           ) -> list[FieldGroup]:  # fmt: skip
    """All fields, by rule. `typed`: what the fields hold instead of what is kept, with `problems` by name."""
    order: dict[Rule | None, int] = {rule: nth for nth, rule in enumerate(get_args(Rule), start=1)}
    inherited, in_force = override.inherited.model_dump(), override.in_force.model_dump()
    wrong = problems or {}
    found = []
    for setting in settings_of(medium_of(override.meter_class)):
        said = setting.of(override.settings)
        text = "" if said is None else setting.typed(said)
        found.append(
            FormField(
                setting,
                text if typed is None else typed.get(setting.name, ""),
                _counting(setting, inherited),
                _counting(setting, in_force),
                _source(setting, override, inherited),
                wrong.get(setting.name, ""),
            )
        )
    # The weight of a rule comes before what it goes by.
    found.sort(key=lambda field: (order.get(field.setting.rule, len(order) + 1), len(field.setting.path) == 1))
    return [
        FieldGroup(rule, order.get(rule, 0), list(fields))
        for rule, fields in groupby(found, key=lambda field: field.setting.rule)
    ]


def read(override: Override, typed: Mapping[str, str]) -> TypedForm:
    """The settings that a form says; a field that is empty says nothing. Raises InvalidInput."""
    known = settings_of(medium_of(override.meter_class))
    said: dict[str, Any] = {}
    problems: dict[str, Problem] = {}
    strange = sorted(typed.keys() - {setting.name for setting in known})
    if strange:
        raise InvalidInput("bad-threshold", f"there is no setting {strange[0]}", field=strange[0])
    for setting in known:
        text = typed.get(setting.name, "").strip()
        if not text:
            continue
        try:
            _put(said, setting.path, setting.read(text))
        except ValueError:
            problems[setting.name] = "choice" if setting.options else "numbers" if setting.count > 1 else "number"
    if not problems:
        problems |= _disordered(known, override, said)
    if not problems:
        merged(override.inherited, said)
    return TypedForm(said, problems)


def changes(before: Mapping[str, Any], after: Mapping[str, Any], meter_class: str) -> list[SettingChange]:
    """What is said otherwise in `after` than in `before`; what the model does not know any more is left out."""
    found = [SettingChange(one, one.of(before), one.of(after)) for one in settings_of(medium_of(meter_class))]
    return [one for one in found if one.before != one.after]


def _counting(setting: Setting, in_force: Mapping[str, Any]) -> Any:
    """The value in force; a rule that is not named is on."""
    found = setting.of(in_force)
    return setting.options[0] if found is None and setting.options else found


def _source(setting: Setting, override: Override, inherited: Mapping[str, Any]) -> Source:
    if setting.of(override.settings) is not None:
        return "project" if override.meter_id is None else "meter"
    if setting.of(override.beneath) is not None:
        return "project"
    return "built-in" if _counting(setting, inherited) == _counting(setting, _BUILT_IN) else "class"


def _put(said: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    for part in path[:-1]:
        said = said.setdefault(part, {})
    said[path[-1]] = value


def _disordered(known: Sequence[Setting], override: Override, said: Mapping[str, Any]) -> dict[str, Problem]:
    """Lower bounds above the upper bound that belongs to them; the model would say so without a name."""
    inherited = override.inherited.model_dump()
    counting = {one.name: inherited.get(one.name) if one.of(said) is None else one.of(said) for one in known}
    found: dict[str, Problem] = {}
    for name, value in counting.items():
        head, low, tail = name.rpartition(_LOW)
        upper = counting.get(f"{head}{_HIGH}{tail}") if low else None
        if upper is not None and value > upper:
            found[name] = "order"
    return found


def count_said(override: Override) -> int:
    """How many settings are said here."""
    return sum(one.of(override.settings) is not None for one in settings_of(medium_of(override.meter_class)))
