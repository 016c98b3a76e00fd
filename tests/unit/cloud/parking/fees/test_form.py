"""The form of a fee rule says all that a rule can say, and nothing that was typed is lost between it and YAML."""

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.kit.calendars import DAY_TYPES
from cloud.parking.fees import entered
from cloud.parking.fees.editor import TO_FORM, TO_YAML, editor_of_rule, editor_sent
from cloud.parking.fees.form import MOST_FIELDS, Shape, document_of, read_fields, shape_of
from cloud.parking.fees.form_actions import act
from cloud.parking.fees.form_problems import read_shape
from cloud.parking.fees.models import ParkingRule, PriceWindow, Schedule
from cloud.parking.fees.reading import read_rule, rule_text
from tests.unit.cloud.parking.fees.rules import rules, schedules

FILES = sorted((Path(__file__).parents[5] / "firmware-config/parking").glob("*.yaml"))
_words = st.text(st.characters(exclude_categories=("Cc", "Cs")), min_size=1, max_size=40)


def fields_of(node: Any, name: str = "r") -> Iterator[tuple[str, str]]:
    """As a browser sends the form."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "days":
                yield from ((f"{name}.days[]", day) for day in value)
            else:
                yield from fields_of(value, f"{name}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from fields_of(value, f"{name}.{number}")
    else:
        yield name, node


def _other_days(schedule: Schedule, days: list[Any]) -> Schedule:
    """The days of its windows in another order: the rule is another one, though it prices the same."""
    windows = tuple(
        PriceWindow(**{**dict(one), "days": tuple(day for day in days if day in one.days)}) for one in schedule.windows
    )
    return schedule.model_copy(update={"windows": windows})


@st.composite
def whole_rules(draw: st.DrawFn) -> ParkingRule:
    """Rules that use all there is."""
    rule = draw(rules())
    days = draw(st.permutations(DAY_TYPES))
    classes = draw(
        st.dictionaries(st.from_regex(r"\A[a-z][a-z0-9-]{0,8}\Z").map(str), schedules(), max_size=2)
        | st.dictionaries(st.sampled_from(["small", "large", "new-energy"]), schedules(), max_size=3)
    )
    return rule.model_copy(
        update={
            "name": draw(_words),
            "source": draw(st.just("") | _words),
            "schedule": _other_days(rule.schedule, days),
            "classes": {name: _other_days(one, days) for name, one in classes.items()},
        }
    )


@settings(max_examples=80)
@given(whole_rules())
def test_from_yaml_to_the_form_and_back_the_rule_is_the_same(rule: ParkingRule) -> None:
    began = editor_of_rule(rule, "form")
    if began.shape is None:  # only what no field of a browser can hold, and what no request can carry
        assert not rule.name.strip() or (rule.source and not rule.source.strip()) or len(rule_text(rule)) > 5_000
        assert began.tab == "yaml"
        assert read_rule(began.text).rule == rule
        return
    assert began.rule == rule
    sent = [*fields_of(began.shape), ("rule", "name: something else")]
    as_yaml = editor_sent(sent, "form", TO_YAML)
    assert (as_yaml.tab, as_yaml.rule, as_yaml.lines) == ("yaml", rule, ())
    again = editor_sent([("rule", as_yaml.text)], "yaml", TO_FORM)
    assert (again.tab, again.shape, again.rule) == ("form", began.shape, rule)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_comments_outlive_a_look_at_the_form(path: Path) -> None:
    text = path.read_text("utf-8")
    form = editor_sent([("rule", text)], "yaml", TO_FORM)
    assert form.shape is not None
    sent = [("rule", text), *fields_of(form.shape)]
    assert editor_sent(sent, "form", TO_YAML).text == text
    sent += [("r.leave_within_minutes", "17")]
    changed = editor_sent(sent, "form", TO_YAML)
    assert changed.rule is not None
    assert (changed.rule.leave_within_minutes, "#" in changed.text) == (17, False)


_paths = st.sampled_from(
    ["schedules.0.steps", "schedules.0.windows", "schedules.0.caps.escalating", "schedules.1.windows.0.steps",
     "schedules.0.windows.1.steps", "schedules.1.steps", "schedules.0.nothing", "schedules.7.steps", "name", ""]
)  # fmt: skip
_actions = st.one_of(
    _paths.map(lambda path: f"add:{path}"),
    st.tuples(_paths | st.just("schedules"), st.integers(0, 3)).map(lambda one: f"remove:{one[0]}.{one[1]}"),
    st.sampled_from(["add-class:large", "add-class:", "nothing", "remove:schedules", "add:steps", "remove:0"]),
)


@settings(max_examples=60)
@given(whole_rules(), st.lists(_actions, max_size=10))
def test_buttons_lose_nothing_but_what_they_remove(rule: ParkingRule, actions: list[str]) -> None:
    shape = editor_of_rule(rule, "form").shape
    if shape is None:
        return
    before = _texts(shape)
    for action in actions:
        act(shape, action)
        assert read_fields(fields_of(shape)) == shape
        read_shape(shape)
    if not any(action.startswith("remove") for action in actions):
        assert [text for text in before if text not in _texts(shape)] == []


def _texts(shape: Shape) -> list[str]:
    return [value for _, value in fields_of(shape)]


def test_a_form_that_is_full_takes_no_more_rows() -> None:
    shape = shape_of({"name": "x", "schedule": {"steps": [{"minutes": 1, "price": "1"}]}})
    assert shape is not None
    for _ in range(MOST_FIELDS):
        act(shape, "add:schedules.0.steps")
        act(shape, "add-class:large")
    assert MOST_FIELDS <= len(list(fields_of(shape))) < 950


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["schedule", "classes", "steps", "windows", "days", "price", "caps", "name", "x"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)


@settings(max_examples=150)
@given(st.dictionaries(st.sampled_from(["name", "schedule", "classes", "source", "y"]), _json, max_size=4))
def test_any_document_is_shown_whole_or_left_to_yaml(document: dict[str, Any]) -> None:
    shape = shape_of(document)
    if shape is not None:
        read_shape(shape)
        shown = "".join(_texts(shape))
        assert [text for text in _leaves(document) if text not in shown] == []


def _leaves(node: Any) -> list[str]:
    if isinstance(node, dict):
        return [text for value in node.values() for text in _leaves(value)]
    if isinstance(node, list):
        return [text for value in node for text in _leaves(value)]
    return [] if node is None else [node if isinstance(node, str) else str(node).lower()]


_names = st.lists(
    st.sampled_from(
        ["schedules", "0", "1", "steps", "windows", "days[]", "class", "name", "caps", "price", "way", "99"]
    ),
    min_size=1,
    max_size=6,
).map(lambda parts: "r." + ".".join(parts))


@settings(max_examples=150)
@given(st.lists(st.tuples(_names, st.sampled_from(["", " ", "5", "steps", "work", "é"])), max_size=12), _actions)
def test_whatever_is_sent_is_read(fields: list[tuple[str, str]], action: str) -> None:
    found = editor_sent([*fields, ("r." + "x." * 5000, "deep")], "form", action)
    assert found.shape is not None
    assert found.rule is not None or found.problems


@pytest.mark.parametrize(
    ("typed", "amount"),
    [("5.00", "5.00"), ("5", "5"), ("¥5", "5"), ("5 元", "5"), ("5,50", "5.50"), ("1,234.50", "1234.50"),
     ("5。5", "5.5"),
     ("５．００", "5.00"), (".5", "0.5"), ("5.", "5"), ("1,234", "1234"), ("5 or 6", "5 or 6"), ("-5", "-5"),
     (".", "."), ("1.2.3", "1.2.3"), ("1e3", "1e3"), ("", "")],
)  # fmt: skip
def test_money_is_typed_as_people_do(typed: str, amount: str) -> None:
    assert entered.amount(typed) == amount


@pytest.mark.parametrize(
    ("typed", "minutes"),
    [("90", 90), ("1 h 30 min", 90), ("1小时30分钟", 90), ("２ｈ", 120), ("2 d", 2880), ("1天", 1440), ("h", "h"),
     ("", ""), ("1.5 h", "1.5 h"), ("-5", "-5"), ("9" * 5000, "9" * 5000)],
)  # fmt: skip
def test_times_are_typed_as_people_do(typed: str, minutes: int | str) -> None:
    assert entered.minutes(typed) == minutes
    assert [entered.clock(text) for text in ("8", "8:05", "８：００", "24:00", "soon")] == [
        "08:00", "08:05", "08:00", "24:00", "soon",
    ]  # fmt: skip


@given(st.decimals(0, 999999, places=3) | st.decimals(0, 99, places=2) | st.integers(0, 999999))
def test_what_a_rule_says_is_no_typing_mistake(value: Decimal | int) -> None:
    assert entered.amount(str(value)) == str(value)


_UNIT = {"minutes": 60, "price": "5"}


@pytest.mark.parametrize(
    ("document", "field", "words"),
    [
        ({"schedule": {}}, "r.schedules.0.unit.minutes", "must be filled in"),
        ({"schedule": {"unit": {"minutes": 60, "price": "five"}}}, "r.schedules.0.unit.price", "such as 5.00"),
        ({"schedule": {"unit": {"minutes": 0, "price": "5"}}}, "r.schedules.0.unit.minutes", "At least 1"),
        ({"schedule": {"unit": {"minutes": 60, "price": "5.001"}}}, "r.schedules.0.unit.price", "at most 2 decimals"),
        ({"schedule": {"steps": [{**_UNIT, "up_to_minutes": 60}]}}, "r.schedules.0.steps", "no end"),
        ({"schedule": {"windows": [{"start": "08:00", "end": "20:00", "minutes": 60, "price": "5"}]}},
         "r.schedules.0.windows", "00:00 is in none"),
        ({"schedule": {"windows": [{"start": "8 or 9", "end": "20:00", "minutes": 60, "price": "5"}]}},
         "r.schedules.0.windows.0.start", "time of day"),
        ({"schedule": {"windows": [{"start": "08:00", "end": "08:00", "days": [], "minutes": 60, "price": "5"}]}},
         "r.schedules.0.windows.0.days", "kind of days"),
        ({"schedule": {"windows": [{"start": "08:00", "end": "08:00", "minutes": 60}]}},
         "r.schedules.0.windows.0", "a unit and its price"),
        ({"schedule": {"windows": [
            {"start": "00:00", "end": "24:00", "days": ["work", "rest", "holiday"], "minutes": 60, "price": "5"}]}},
         "r.schedules.0.windows", "Days of critical load that follow Working days"),
        ({"schedule": {"unit": _UNIT, "charging": {"at_most_minutes": 5}}},
         "r.schedules.0.charging", "each kWh"),
        ({"schedule": {"unit": _UNIT, "free_minutes_per": "day"}},
         "r.schedules.0", "longer than 0"),
        ({"schedule": {"unit": _UNIT}, "classes": {"Bus!": {"unit": _UNIT}}},
         "r.schedules.1.class", "small letters"),
        ({"schedule": {"unit": _UNIT}, "classes": {"large": {"unit": {"minutes": 1}}}},
         "r.schedules.1.unit.price", "must be filled in"),
        ({"schedule": {"unit": _UNIT}, "currency": "yuan"}, "r.currency", "CNY"),
    ],
)  # fmt: skip
def test_a_mistake_is_said_beside_its_field(document: dict[str, Any], field: str, words: str) -> None:
    shape = shape_of({"name": "x", **document})
    assert shape is not None
    rule, problems = read_shape(shape)
    assert rule is None
    found = {one.field: one.sentence for one in problems}
    assert words in found[field]


def test_a_class_named_twice_is_not_lost() -> None:
    document = {"name": "x", "schedule": {"unit": _UNIT}}
    shape = shape_of(document)
    assert shape is not None
    act(shape, "add-class:large")
    act(shape, "add-class:Large ")
    kept = editor_sent(list(fields_of(shape)), "form", TO_YAML)
    assert (kept.tab, kept.shape, kept.rule) == ("form", shape, None)
    assert [(one.field, one.where) for one in kept.problems] == [("r.schedules.2.class", "Large vehicle")]


def test_what_waits_in_the_form_is_not_in_the_rule() -> None:
    shape = shape_of({"name": "x", "schedule": {"unit": _UNIT}})
    assert shape is not None
    act(shape, "add:schedules.0.windows")
    assert "windows" not in document_of(shape)["schedule"]
    shape["schedules"][0]["way"] = "windows"
    rule, _ = read_shape(shape)
    assert rule is not None
    assert [(one.start, one.price) for one in rule.schedule.windows] == [("08:00", Decimal(5)), ("20:00", Decimal(5))]
    assert rule.schedule.unit is None
