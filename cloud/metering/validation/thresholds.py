"""What the rules go by: settings with units, defaults of each class of meters, overrides of a project or a meter."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import ConfigDict, Field, ValidationError, model_validator

from cloud.kit.errors import InvalidInput
from cloud.kit.inputs import Input
from cloud.metering.derivation.estimation import Profile
from cloud.metering.derivation.profiles import PROFILES
from cloud.metering.records import Medium, Rule

Weight = Literal["on", "info", "off"]
"""`info`: findings are shown, but nothing waits for a decision about them."""

CLOCK_AHEAD_S: Final = 300
"""How far ahead of its receipt a reading may be stamped where nobody says otherwise, or no meter takes it."""

_Permille = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]
_Count = Annotated[int, Field(ge=1, le=10_000)]
_Days = Annotated[int, Field(ge=1, le=400)]
_Amount = Annotated[int, Field(ge=0, le=10**12)]

_Weights = Annotated[tuple[Annotated[int, Field(ge=0, le=10_000)], ...], Field(min_length=24, max_length=24)]
_EVEN: Final = (1,) * 24

INFORMATIONAL: Final[Mapping[Rule, Weight]] = {"gap": "info", "duplicate": "info", "frozen": "info", "sibling": "info"}


class Thresholds(Input):
    """All settings of the rules. Amounts are in the base unit of the register (Wh, mL), the multiplier applied."""

    # The docstrings of the fields are their descriptions: a form groups and explains settings by them.
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    rules: dict[Rule, Weight] = Field(default_factory=lambda: dict(INFORMATIONAL))
    """Rules that are not simply on."""
    bidirectional: bool = False
    """V13: values below 0 are readings like others. Steps back are judged as of every register (V5)."""
    clock_ahead_s: Annotated[int, Field(ge=0, le=86_400)] = CLOCK_AHEAD_S
    """V2: how far a reading may be stamped ahead of its receipt."""
    gap_slots: Annotated[int, Field(ge=0, le=10_000)] = 0
    """V4: so many slots in a row may be missing."""
    spike_tolerance_permille: _Permille = 5_000
    """V8: how far the highest interval of a day may stand above the third-highest."""
    spike_floor: _Amount = 2_000
    """V8: intervals up to this are no spike."""
    high_low_low_permille: _Permille = 500
    """V9: of the reference's average daily usage."""
    high_low_high_permille: _Permille = 2_000
    """V9: of the reference's average daily usage."""
    high_low_floor: _Amount = 500
    """V9: averages up to this a day are not compared."""
    frozen_intervals: Annotated[int, Field(ge=2, le=10_000)] = 3
    """V10: so many intervals with the same usage are too many."""
    frozen_smallest_steps: _Count = 100
    """V10: usage per interval that a real load cannot repeat, in steps of the register's resolution."""
    frozen_load: _Amount = 100
    """V10: power in W, or flow in mL/h, at which a register must move."""
    zero_days: _Days = 14
    """V11: days without usage in an occupied unit."""
    inactive_floor: _Amount = 500
    """V12: usage of a day that a vacant unit may have."""
    estimate_days: _Days = 3
    """V16: longest time without real usage."""
    leak_per_hour: _Amount = 5_000
    """V17: flow that must stop in some hour of a day."""
    night_flow: _Amount = 0
    """Of water in an hour: up to this an hour is still, for the smallest flow of nights and for how long it flows."""
    flow_hours: Annotated[int, Field(ge=1, le=720)] = 24
    """Of water: flow without a still hour for so long is shown as a leak."""
    loss_low_permille: _Permille = -10
    """V18: of the master's usage."""
    loss_high_permille: _Permille = 150
    """V18: of the master's usage."""
    profile: _Weights = _EVEN
    """Weight of each local hour of a working day: the shape of an estimate when nothing better is known."""
    rest_profile: _Weights = _EVEN
    """The same for days of rest."""
    profile_per_day: _Amount = 0
    """What is used in a day, for a bill that cannot wait when nothing better is known."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.high_low_low_permille > self.high_low_high_permille or self.loss_low_permille > self.loss_high_permille:
            raise ValueError("the lower bound is above the upper one")
        if not any(self.profile) or not any(self.rest_profile):
            raise ValueError("a profile needs an hour with a weight")
        return self

    def weight(self, rule: Rule) -> Weight:
        """Whether a rule is on, informational or off."""
        return self.rules.get(rule, "on")

    def day(self) -> Profile:
        """The typical day that estimates fall back on."""
        return Profile(self.profile, self.rest_profile, self.profile_per_day)


def _of(meter_class: str, off: tuple[Rule, ...] = (), **settings: Any) -> Thresholds:
    rules: dict[Rule, Weight] = {**INFORMATIONAL, **dict.fromkeys(off, "off")}
    day = PROFILES[meter_class]
    return Thresholds(rules=rules, profile=day.work, rest_profile=day.rest, profile_per_day=day.per_day, **settings)


_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    "electricity-residential": {"off": ("leak",)},
    "electricity-commercial": {
        "off": ("leak",), "spike_tolerance_permille": 3_000, "spike_floor": 10_000, "high_low_floor": 2_000,
    },
    "electricity-industrial": {
        "off": ("leak",), "spike_tolerance_permille": 2_000, "spike_floor": 50_000, "high_low_floor": 10_000,
    },
    # Lights and lifts: the same load every night, on purpose.
    "electricity-public": {"off": ("leak", "frozen", "zero", "inactive"), "spike_floor": 10_000},
    "water-residential": {
        "spike_floor": 500_000, "high_low_floor": 50_000, "inactive_floor": 20_000, "frozen_load": 20_000,
    },
    "water-commercial": {
        "spike_floor": 2_000_000, "high_low_floor": 200_000, "inactive_floor": 50_000, "frozen_load": 50_000,
        "leak_per_hour": 50_000,
    },
    # Mains flow in every hour; what is lost there shows in the balance.
    "water-network": {"off": ("leak", "zero", "inactive"), "spike_floor": 5_000_000, "frozen_load": 200_000},
    "heat": {
        "off": ("leak", "zero", "high-low"), "spike_floor": 20_000, "inactive_floor": 10_000, "frozen_load": 2_000,
    },
}  # fmt: skip

CLASSES: Final[Mapping[str, Thresholds]] = {name: _of(name, **said) for name, said in _SETTINGS.items()}
"""Defaults by class of meter."""

USUAL_CLASS: Final[Mapping[Medium, str]] = {
    "electricity": "electricity-residential",
    "water": "water-residential",
    "heat": "heat",
}
"""The class of meters that name none."""


def class_of(medium: Medium, meter_class: str) -> str:
    """The class that counts for a meter; a name that is not known is taken as none."""
    return meter_class if meter_class in CLASSES else USUAL_CLASS[medium]


def merged(base: Thresholds, settings: Mapping[str, object]) -> Thresholds:
    """`base` with some settings replaced; of `rules` only those that are named. Raises InvalidInput."""
    rules = settings.get("rules", {})
    known = {**base.rules, **rules} if isinstance(rules, Mapping) else rules
    try:
        return Thresholds.model_validate({**base.model_dump(), **settings, "rules": known})
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "settings"
        raise InvalidInput("bad-threshold", f"{where}: {first['msg']}", field=where) from error


def thresholds_of(
    medium: Medium,
    meter_class: str,
    of_project: Mapping[str, object] | None = None,
    of_meter: Mapping[str, object] | None = None,
) -> Thresholds:
    """Thresholds of one meter: of its class, then what its project says about the class, then what is said about it.

    Raises InvalidInput when an override is not valid.
    """
    found = CLASSES[class_of(medium, meter_class)]
    for settings in (of_project, of_meter):
        if settings:
            found = merged(found, settings)
    return found
