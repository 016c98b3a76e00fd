"""Registers under judgement with their thresholds as columns, and all rules about usage rows at once. Pure."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from cloud.metering.records import MAIN_CHANNEL, Medium, Rule
from cloud.metering.validation import intervals
from cloud.metering.validation.segments import Found, Ints, Mask, Rows
from cloud.metering.validation.thresholds import Thresholds

INTERVAL_RULES: Final[tuple[Rule, ...]] = ("spike", "frozen", "leak")
"""What `judge_rows` judges."""


@dataclass(frozen=True, slots=True)
class Subject:
    """The billed register of one meter, and what it is judged by."""

    project_id: int
    meter_id: int
    medium: Medium
    interval_s: int
    unit_id: int | None
    resolution: int
    """In the base unit, before the multiplier."""
    multiplier_e4: int
    thresholds: Thresholds

    @property
    def channel(self) -> int:
        """Number of the billed register."""
        return MAIN_CHANNEL[self.medium].number


def column(subjects: Sequence[Subject], value: Callable[[Subject], int]) -> Ints:
    """One value of each subject."""
    return np.array([value(one) for one in subjects], np.int64)


def weighed(subjects: Sequence[Subject], rule: Rule) -> Mask:
    """For which of the subjects a rule is not switched off."""
    return np.array([one.thresholds.weight(rule) != "off" for one in subjects], np.bool_)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Findings by rule, and the days for which a rule cannot say that an earlier finding is over."""

    found: dict[Rule, Found]
    unsure: dict[Rule, Found]


def judge_rows(subjects: Sequence[Subject], rows: Rows, day_edges: Ints) -> Verdict:
    """V8, V10 and V17 over the rows of many registers. `rows.which` are positions in `subjects`."""
    tolerance = column(subjects, lambda one: one.thresholds.spike_tolerance_permille)
    floor = column(subjects, lambda one: one.thresholds.spike_floor)
    repeats = column(subjects, lambda one: one.thresholds.frozen_intervals)
    step = column(subjects, lambda one: one.thresholds.frozen_smallest_steps * one.resolution * one.multiplier_e4)
    leaks = intervals.leak(rows, day_edges, column(subjects, lambda one: one.thresholds.leak_per_hour))
    found: dict[Rule, Found] = {
        "spike": intervals.spike(rows, day_edges, tolerance, floor),
        "frozen": intervals.frozen(rows, day_edges, repeats, -(-step // 10_000)),
        "leak": leaks.found,
    }
    on: dict[Rule, Found] = {rule: _only(found[rule], weighed(subjects, rule)) for rule in INTERVAL_RULES}
    return Verdict(on, {"leak": _only(leaks.unsure, weighed(subjects, "leak"))})


def _only(found: Found, subjects: Mask) -> Found:
    return found if not len(found) else found.where(subjects[found.which])
