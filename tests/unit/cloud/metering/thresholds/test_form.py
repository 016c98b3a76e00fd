"""The form of thresholds: fields from the model, units people use, sources, and problems that name their field."""

from decimal import Decimal
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.metering.records import Medium, Rule
from cloud.metering.thresholds import form as threshold_form
from cloud.metering.thresholds.form import FormField
from cloud.metering.thresholds.overrides import Override
from cloud.metering.thresholds.settings import Setting, medium_of, settings_of
from cloud.metering.validation.thresholds import CLASSES, Thresholds, merged
from cloud.web import threshold_words

MEDIA: tuple[Medium, ...] = get_args(Medium)


def override(meter_class: str, settings: dict[str, Any], beneath: dict[str, Any] | None = None, *, meter: bool = False
             ) -> Override:  # fmt: skip
    below = beneath or {}
    in_force = merged(merged(CLASSES[meter_class], below), settings)
    return Override(meter_class, 7 if meter else None, settings, in_force, below)


def fields(found: Override, **more: Any) -> dict[str, FormField]:
    return {one.setting.name: one for group in threshold_form.groups(found, **more) for one in group.fields}


def named(name: str, medium: Medium = "electricity") -> Setting:
    return next(one for one in settings_of(medium) if one.name == name)


@pytest.mark.parametrize("medium", MEDIA)
def test_every_setting_of_the_model_has_a_field(medium: Medium) -> None:
    names = {one.path[0] for one in settings_of(medium)}
    assert names == set(Thresholds.model_fields)
    assert {one.path[1] for one in settings_of(medium) if one.path[0] == "rules"} == set(get_args(Rule))


def test_every_setting_has_a_word() -> None:
    assert set(Thresholds.model_fields) - threshold_words.SETTINGS.keys() == set()


@pytest.mark.parametrize("meter_class", CLASSES)
def test_what_a_class_says_is_typed_and_read_back(meter_class: str) -> None:
    kept = CLASSES[meter_class].model_dump()
    for setting in settings_of(medium_of(meter_class)):
        value = setting.of(kept)
        if value is not None:
            found = setting.read(setting.typed(value))
            assert (tuple(found) if isinstance(found, list) else found) == value, setting.name


@given(st.sampled_from([one for medium in MEDIA for one in settings_of(medium) if one.kind == "number"]), st.data())
def test_a_number_is_read_as_the_model_takes_it(setting: Setting, data: st.DataObject) -> None:
    value = data.draw(st.integers(setting.least - 5, setting.most + 5))
    text = format(Decimal(value).scaleb(setting.exponent), "f")
    try:
        merged(Thresholds(), {setting.name: value})
        fits = True
    except InvalidInput as error:
        fits = error.field == "settings"  # only in disorder with another one
    if fits:
        assert setting.read(text) == value
    else:
        with pytest.raises(ValueError, match="outside its range"):
            setting.read(text)


def test_units_are_those_people_use() -> None:
    assert (named("spike_floor").unit, named("spike_floor").read("2.5")) == ("kWh", 2_500)
    assert (named("spike_floor", "water").unit, named("spike_floor", "water").read("0.5")) == ("m³", 500_000)
    assert (named("leak_per_hour", "water").unit, named("frozen_load").unit) == ("m³/h", "kW")
    assert (named("loss_low_permille").unit, named("loss_low_permille").read("-1.5")) == ("%", -15)
    assert (named("zero_days").unit, named("clock_ahead_s").unit, named("gap_slots").unit) == ("days", "seconds", "")
    assert (named("zero_days").rule, named("loss_low_permille").rule) == ("zero", "master-balance")


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("zero_days", "0", "number"),
        ("zero_days", "1.5", "number"),
        ("zero_days", "many", "number"),
        ("zero_days", "NaN", "number"),
        ("spike_floor", "0.0001", "number"),
        ("spike_floor", "Infinity", "number"),
        ("profile", "1 2 3", "numbers"),
        ("profile", " ".join("0" * 24), "numbers"),
        ("profile", " ".join(["20000"] * 24), "numbers"),
        ("rules.spike", "maybe", "choice"),
        ("bidirectional", "1", "choice"),
        ("high_low_low_permille", "200.1", "order"),
        ("loss_low_permille", "15.1", "order"),
    ],
)
def test_a_problem_names_its_field(name: str, text: str, problem: str) -> None:
    found = override("electricity-residential", {})
    typed = {name: text, "estimate_days": "5"}
    form = threshold_form.read(found, typed)
    assert form.problems == {name: problem}
    shown = fields(found, typed=typed, problems=form.problems)
    assert (shown[name].text, shown[name].problem) == (text, problem)
    assert (shown["estimate_days"].text, shown["estimate_days"].problem) == ("5", "")


def test_bounds_are_in_order_with_what_is_inherited() -> None:
    found = override("heat", {}, {"loss_high_permille": 900}, meter=True)
    assert threshold_form.read(found, {"loss_low_permille": "89"}).problems == {}
    assert threshold_form.read(found, {"loss_low_permille": "91"}).problems == {"loss_low_permille": "order"}
    both = {"loss_low_permille": "91", "loss_high_permille": "92"}
    assert threshold_form.read(found, both).problems == {}


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(InvalidInput) as refused:
        threshold_form.read(override("heat", {}), {"settings": "{}"})
    assert refused.value.field == "settings"


def test_what_is_typed_becomes_the_settings_that_differ() -> None:
    typed = {"zero_days": " 9 ", "rules.leak": "info", "bidirectional": "no", "spike_floor": ""}
    found = threshold_form.read(override("water-residential", {"gap_slots": 3}), typed)
    assert found.settings == {"zero_days": 9, "rules": {"leak": "info"}, "bidirectional": False}


def test_a_field_says_where_its_value_comes_from() -> None:
    found = override(
        "water-residential", {"zero_days": 9, "rules": {"leak": "off"}}, {"zero_days": 5, "gap_slots": 2}, meter=True
    )
    shown = fields(found)
    sources = {name: shown[name].source for name in ("zero_days", "gap_slots", "spike_floor", "estimate_days",
                                                     "rules.leak", "rules.gap", "rules.spike")}  # fmt: skip
    assert sources == {
        "zero_days": "meter", "gap_slots": "project", "spike_floor": "class", "estimate_days": "built-in",
        "rules.leak": "meter", "rules.gap": "built-in", "rules.spike": "built-in",
    }  # fmt: skip
    assert (shown["zero_days"].inherited, shown["zero_days"].in_force, shown["zero_days"].text) == (5, 9, "9")
    assert (shown["rules.spike"].inherited, shown["rules.gap"].inherited) == ("on", "info")
    assert fields(override("heat", {"zero_days": 3}))["zero_days"].source == "project"
    assert fields(override("heat", {}))["rules.leak"].source == "class"
    assert threshold_form.count_said(found) == 2


def test_changes_name_each_setting() -> None:
    before = {"zero_days": 5, "rules": {"leak": "off"}, "of-an-older-version": 1}
    found = threshold_form.changes(before, {"rules": {"leak": "info"}, "gap_slots": 1}, "heat")
    assert {(one.setting.name, one.before, one.after) for one in found} == {
        ("zero_days", 5, None), ("rules.leak", "off", "info"), ("gap_slots", None, 1)
    }  # fmt: skip
