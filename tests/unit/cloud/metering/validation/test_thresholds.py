"""Thresholds of a meter: class, project, meter."""

import pytest

from cloud.kit.errors import InvalidInput
from cloud.metering.derivation.estimation import Profile
from cloud.metering.derivation.profiles import PROFILES
from cloud.metering.validation.thresholds import CLASSES, USUAL_CLASS, class_of, merged, thresholds_of


def test_the_meter_beats_the_project_and_the_project_the_class() -> None:
    plain = thresholds_of("water", "")
    assert plain == CLASSES["water-residential"]
    of_project = {"leak_per_hour": 1, "zero_days": 2, "rules": {"leak": "info"}}
    found = thresholds_of("water", "", of_project, {"zero_days": 3, "rules": {"spike": "off"}})
    assert (found.leak_per_hour, found.zero_days, found.inactive_floor) == (1, 3, plain.inactive_floor)
    assert (found.weight("leak"), found.weight("spike"), found.weight("clock")) == ("info", "off", "on")


def test_an_unknown_class_is_the_usual_one() -> None:
    assert class_of("heat", "of-a-newer-version") == USUAL_CLASS["heat"]
    assert class_of("water", "water-network") == "water-network"


@pytest.mark.parametrize(
    "settings",
    [
        {"spelt_wrong": 1},
        {"zero_days": 0},
        {"rules": {"no-rule": "off"}},
        {"rules": {"leak": "maybe"}},
        {"rules": 7},
        {"profile": [1] * 23},
        {"profile": [0] * 24},
        {"rest_profile": [0] * 24},
        {"high_low_low_permille": 3_000},
        {"loss_low_permille": 200},
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object]) -> None:
    with pytest.raises(InvalidInput) as refused:
        merged(CLASSES["heat"], settings)
    assert refused.value.code == "bad-threshold"


def test_every_class_has_a_typical_day_that_can_be_said_otherwise() -> None:
    assert set(CLASSES) == set(PROFILES)
    assert all(CLASSES[name].day() == day for name, day in PROFILES.items())
    night = (1, *(0,) * 23)
    found = thresholds_of("water", "", {"profile": night, "profile_per_day": 7}, {"rest_profile": night}).day()
    assert found == Profile(night, night, 7)
