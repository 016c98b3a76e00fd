"""Which template fits a device: evidence for and against each, from what its reads gave; pure.

A wrong template reads somebody else's registers: they are refused, or give values that no meter shows. So each reading
that must lie in a narrow band speaks for or against, and so do readings that depend on each other. A register that is
0 or merely positive proves little.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from gateway.contract.messages import Quality
from gateway.contract.quantities import BY_CODE, Kind
from gateway.drivers.base import Reading
from gateway.shown import shown_value

SURE: Final = 90
"""From this score on nothing else needs to be tried, if the identity of the template agrees."""
_LARGEST: Final = {"Wh": 10**12, "varh": 10**12, "VAh": 10**12, "mL": 10**13}
"""No meter of a building has counted further."""
_IDLE_MW: Final = 20_000
"""Below 20 W phases and sum need not agree."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What reading a device by a template gave."""

    template: str
    asked: int
    """Requests that were made."""
    answered: int
    """Those that were answered with values."""
    readings: Sequence[Reading] = ()
    missing: int = 0
    errors: int = 0
    identity: bool | None = None
    """Whether the identity of the template agrees; None when it has none."""


@dataclass(frozen=True, slots=True)
class Guess:
    """How well a template fits."""

    template: str
    score: int
    """0 to 100; above 80 little speaks against it."""
    reasons: tuple[str, ...]


@dataclass(slots=True)
class _Evidence:
    good: float = 0.0
    bad: float = 0.0
    reasons: list[str] = field(default_factory=list)

    def add(self, weight: float, reason: str = "") -> None:
        """Positive weights speak for the template, negative ones against it."""
        if weight > 0:
            self.good += weight
        else:
            self.bad -= weight
        if reason:
            self.reasons.append(reason)


def judge(trial: Trial) -> Guess | None:
    """How well the template fits; None when it does not at all."""
    if trial.identity is False or not trial.answered:
        return None
    evidence = _Evidence()
    if trial.identity:
        evidence.reasons.append("its identity registers agree")
    if trial.answered < trial.asked:
        evidence.reasons.append(f"{trial.asked - trial.answered} of {trial.asked} reads were refused or not answered")
    for reading in trial.readings:
        weight, reason = _plausible(reading)
        evidence.add(weight, reason)
    for weight, reason in _consistent({reading.channel: reading.value for reading in trial.readings}):
        evidence.add(weight, reason)
    if trial.missing:
        evidence.add(-0.5 * trial.missing, f"{trial.missing} registers have no value")
    if trial.errors:
        evidence.add(-2.0 * trial.errors, f"{trial.errors} registers hold what is no number")
    if not any(reading.value for reading in trial.readings):
        evidence.add(-2.0, "every register is 0")
    share = trial.answered / trial.asked
    score = 100 * share**2 * (evidence.good + 1) / (evidence.good + evidence.bad + 2)
    if trial.identity:  # values count all the same: some identities are no more than a small number
        score = 50 + score / 2
    return Guess(trial.template, round(score), tuple(evidence.reasons))


def ranked(guesses: Iterable[Guess | None], most: int) -> list[Guess]:
    """The best, at most `most`, best first."""
    found = [guess for guess in guesses if guess is not None and guess.score > 0]
    return sorted(found, key=lambda guess: (-guess.score, guess.template))[:most]


def _plausible(reading: Reading) -> tuple[float, str]:
    """(weight, reason worth telling) of one value by itself."""
    if reading.quality & Quality.OUT_OF_RANGE:
        return -2.0, f"{_told(reading)} is outside what the template allows"
    for belongs, judge_value in _JUDGES:
        if belongs(reading.channel):
            return judge_value(reading)
    return 0.0, ""


def _voltage(reading: Reading) -> tuple[float, str]:
    if 80_000 <= reading.value <= 500_000:
        return 2.0, _told(reading) if reading.channel == "voltage_l1" else ""
    if reading.value == 0 and reading.channel != "voltage_l1":
        return -0.5, ""  # a phase that is not connected, or that this model does not have
    return -4.0, f"{_told(reading)} is no mains voltage"


def _linked_voltage(reading: Reading) -> tuple[float, str]:
    if reading.value == 0 or 100_000 <= reading.value <= 900_000:
        return (1.0, "") if reading.value else (0.0, "")
    return -3.0, f"{_told(reading)} is no voltage between phases"


def _frequency(reading: Reading) -> tuple[float, str]:
    if 45_000 <= reading.value <= 65_000:
        return 4.0, _told(reading)
    return (-1.0, "") if reading.value == 0 else (-4.0, f"{_told(reading)} is no mains frequency")


def _power_factor(reading: Reading) -> tuple[float, str]:
    return (0.5, "") if abs(reading.value) <= 1_000 else (-3.0, f"{_told(reading)} is no power factor")


def _temperature(reading: Reading) -> tuple[float, str]:
    if -40_000 <= reading.value <= 200_000:
        return (1.0, "") if reading.value else (0.0, "")
    return -3.0, f"{_told(reading)} is no temperature in a building"


def _counted(reading: Reading) -> tuple[float, str]:
    if reading.value < 0:
        return -4.0, f"{_told(reading)}: a register that only counts up cannot be negative"
    if reading.value > _LARGEST.get(BY_CODE[reading.channel].unit, reading.value):
        return -4.0, f"{_told(reading)} is more than a meter counts"
    return (0.5, "") if reading.value else (0.0, "")


def _is_counted(channel: str) -> bool:
    return BY_CODE[channel].kind is Kind.CUMULATIVE and channel != "energy_net_total"


_JUDGES: Final[tuple[tuple[Callable[[str], bool], Callable[[Reading], tuple[float, str]]], ...]] = (
    (lambda channel: channel in ("voltage_l1", "voltage_l2", "voltage_l3"), _voltage),
    (lambda channel: channel.startswith("voltage_"), _linked_voltage),
    (lambda channel: channel == "frequency", _frequency),
    (lambda channel: channel.startswith("power_factor"), _power_factor),
    (lambda channel: channel.startswith("temperature"), _temperature),
    (_is_counted, _counted),
)


def _consistent(values: dict[str, int]) -> Iterator[tuple[float, str]]:
    """What readings say together: phases add up to the sum, power is voltage times current."""
    for name in ("power_active", "power_apparent"):
        phases = [values.get(f"{name}_l{phase}") for phase in (1, 2, 3)]
        total = values.get(f"{name}_total")
        known = [one for one in phases if one is not None]
        if total is None or len(known) < 3 or abs(total) * 1000 < _IDLE_MW:
            continue
        apart = abs(sum(known) - total)
        if apart <= max(3, abs(total) // 50):
            yield 4.0, f"the phases of {name} add up to its total"
        else:
            yield -3.0, f"the phases of {name} do not add up to its total"
    for phase in (1, 2, 3):
        yield from _power_of_phase(values, phase)


def _power_of_phase(values: dict[str, int], phase: int) -> Iterator[tuple[float, str]]:
    """Apparent power must be, and active power must not exceed, voltage times current."""
    voltage, current = values.get(f"voltage_l{phase}"), values.get(f"current_l{phase}")
    active = values.get(f"power_active_l{phase}")
    if not voltage or not current or active is None:
        return
    limit_mw = abs(voltage * current) // 1000
    if limit_mw < _IDLE_MW:
        return
    if abs(active) * 1000 > limit_mw * 11 // 10 + 2_000:
        yield -3.0, f"power_active_l{phase} is more than voltage times current"
    else:
        yield (1.0, "") if active else (0.0, "")


def _told(reading: Reading) -> str:
    value, unit = shown_value(reading.channel, reading.value)
    return f"{reading.channel} {value} {unit}".strip()
