"""The published examples of `tests/oracles/parking.yaml`: every number of theirs is ours."""

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml

from cloud.parking.fees.models import ParkingRule, Schedule
from cloud.parking.fees.pricing import price_stay
from tests.unit.cloud.parking.fees.rules import SHANGHAI

ROOT = Path(__file__).parents[5]
ORACLES = yaml.safe_load((ROOT / "tests/oracles/parking.yaml").read_text("utf-8"))
RULE_FILES = {"mall lot": "mall", "day and night lot": "day-night"}
MINUTES = {"m": 1, "h": 60}
CASES = [(oracle["name"], case) for oracle in ORACLES for case in oracle["cases"]]
CLASSES = {"new_energy": "new-energy"}
DAY = (8, 18)
"""Hours of the day rate; the source says how many, the file says which."""


def _rule(lot: str) -> ParkingRule:
    text = (ROOT / f"firmware-config/parking/{RULE_FILES[lot]}.yaml").read_text("utf-8")
    return ParkingRule.model_validate(yaml.safe_load(text))


def _mall(schedule: Schedule) -> tuple[str, str]:
    """The rule in the words of the source: in full, and as it says it of a class."""
    first, unit, cap = schedule.first, schedule.unit, schedule.caps.per_24_hours
    assert first is not None
    assert unit is not None
    assert cap is not None
    assert (unit.minutes, schedule.billing_from) == (60, "entry")
    until = f"{schedule.free_minutes / 60:g} h free; up to {first.minutes / 60:g} h"
    return (
        f"{until} {first.amount:.0f} yuan; then {unit.price:.0f} yuan per started hour; cap {cap:.0f} per 24 h",
        f"{until} {first.amount}; then {unit.price:.0f} per started hour; cap {cap:.0f}",
    )


def _day_and_night(schedule: Schedule) -> str:
    day, night = schedule.windows
    assert (schedule.billing_from, day.minutes, night.minutes) == ("entry", 30, 60)
    return (
        f"up to {schedule.free_minutes} min free, else billed from entry; day {day.price:.0f} yuan per half hour, "
        f"night {night.price} per hour; a full day has {day.length // 60} day hours"
    )


def test_the_rules_are_those_of_the_source() -> None:
    mall, street = ORACLES
    assert set(mall) == {"name", "rule", "new_energy", "cases", "source"}
    assert set(street) == {"name", "rule", "cases", "source"}
    assert mall["rule"] == _mall(_rule("mall lot").schedule)[0]
    assert mall["new_energy"] == _mall(_rule("mall lot").classes["new-energy"])[1]
    assert street["rule"] == _day_and_night(_rule("day and night lot").schedule)
    assert [one["source"] for one in ORACLES] == [_rule(one["name"]).source for one in ORACLES]


def _begins(case: dict[str, Any]) -> range:
    """The hours at which the stay may begin."""
    return range(*DAY) if case.get("within") == "day" else range(24)


@pytest.mark.parametrize(("lot", "case", "hour"), [(lot, case, hour) for lot, case in CASES for hour in _begins(case)])
def test_published_examples(lot: str, case: dict[str, Any], hour: int) -> None:
    rest = dict(case)
    stay = timedelta(minutes=int(case["stay"][:-1]) * MINUTES[rest.pop("stay")[-1]])
    vehicle_class = CLASSES[rest.pop("class")] if "class" in rest else "small"
    assert rest.pop("within", "day") == "day"
    entered = datetime(2026, 5, 1, hour, tzinfo=SHANGHAI)
    fee = price_stay(_rule(lot), entered, entered + stay, vehicle_class, SHANGHAI)
    assert fee.amount == Decimal(rest.pop("amount"))
    if "note" in rest:
        cap = _rule(lot).schedule.caps.per_24_hours
        assert rest.pop("note") == f"{case['stay'][:-1]} {case['stay'][-1]} capped at {cap:.0f}"
    assert not rest, "a key of the oracle is not compared"
    assert sum(step.amount for step in fee.steps) == fee.amount
