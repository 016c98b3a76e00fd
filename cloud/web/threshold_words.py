"""Thresholds of the validation in the reader's language: settings, what can be chosen, units, where a value is from."""

from collections.abc import Mapping
from typing import Final

from cloud.kit.i18n import marked as _

SETTINGS: Final[Mapping[str, str]] = {
    "bidirectional": _("Values below 0 are what the meter is for"),
    "clock_ahead_s": _("A reading may be stamped ahead of its receipt by"),
    "estimate_days": _("Longest time without real usage"),
    "flow_hours": _("Water runs without a still hour for"),
    "frozen_intervals": _("Intervals running with the same usage"),
    "frozen_load": _("Load at which a register must move"),
    "frozen_smallest_steps": _("From this usage on an interval cannot repeat (steps of the register)"),
    "gap_slots": _("So many expected readings in a row may be missing"),
    "high_low_floor": _("Daily averages up to this are not compared"),
    "high_low_high_permille": _("Highest share of the usage compared with"),
    "high_low_low_permille": _("Lowest share of the usage compared with"),
    "inactive_floor": _("A day may use up to"),
    "leak_per_hour": _("Flow that must stop in some hour of a day"),
    "loss_high_permille": _("Highest loss, of the master's usage"),
    "loss_low_permille": _("Lowest loss, of the master's usage"),
    "night_flow": _("An hour with up to this flow is still"),
    "profile": _("Weights of the 24 hours of a day, for estimates"),
    "profile_per_day": _("Usual usage of a day, for estimates"),
    "rest_profile": _("Weights of the 24 hours of a day of rest, for estimates"),
    "rules": _("The rule is"),
    "spike_floor": _("Intervals up to this are no spike"),
    "spike_tolerance_permille": _("The highest interval may stand above the third-highest by"),
    "zero_days": _("Days without usage"),
}
"""Settings of cloud/metering/validation/thresholds.py; one that is missing here is shown by its English docstring."""

CHOICES: Final[Mapping[str, str]] = {
    "on": _("on"),
    "info": _("shown only"),
    "off": _("off"),
    "yes": _("yes"),
    "no": _("no"),
}

UNITS: Final[Mapping[str, str]] = {
    "days": _("days"),
    "hours": _("hours"),
    "seconds": _("seconds"),
}

SOURCES: Final[Mapping[str, str]] = {
    "built-in": _("built in"),
    "class": _("of the class"),
    "project": _("of the project"),
    "meter": _("of this meter"),
}
