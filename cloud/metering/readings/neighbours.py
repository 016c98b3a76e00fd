"""Whether a register value fits between the readings before and after it. Pure: integers, no clock, no database.

The same bounds as usage is judged by (`judging`, rule 4): within one register in force a value is at least the one
before and at most the one after it, and advances no faster than `max_per_hour`; a register that stood at 0.9 of its
modulus or more may start again at 0. What does not fit is a question to a person, never a refusal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from cloud.metering.derivation.judging import HOUR_MS
from cloud.metering.records import Meter
from gateway.contract.quantities import Kind, Quantity

Doubt = Literal["backward", "maximum"]
"""Named after the rules that usage would refuse the reading by."""
Side = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A good reading, or one at an end of the register; `value` in the base unit, before the multiplier."""

    time_ms: int
    value: int


@dataclass(frozen=True, slots=True)
class Register:
    """The register in force: where it starts again at 0 and its greatest advance in an hour, both in the base unit."""

    modulus: int
    max_per_hour: int


@dataclass(frozen=True, slots=True)
class Candidate:
    """A value that wants to be stored, and what is stored around it within the same register in force.

    `series` tells which register it is of: any key that is equal for values of one meter, channel and register.
    """

    series: tuple[int, ...]
    time_ms: int
    value: int
    register: Register
    before: Neighbour | None = None
    after: Neighbour | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is doubtful: against which neighbour, and the values that would have been expected (base unit).

    `low` > `high` when the register may have started again at 0 in between. Both are None when no value fits, because
    the neighbours do not fit each other.
    """

    doubt: Doubt
    side: Side
    neighbour: Neighbour
    low: int | None
    high: int | None


def is_judged(quantity: Quantity, meter: Meter) -> bool:
    """Whether modulus and maximum of the meter say anything about this channel: as usage is derived of it."""
    main = meter.main_channel
    return quantity.kind is Kind.CUMULATIVE and quantity.unit == main.unit and quantity.code != "energy_net_total"


def question(candidate: Candidate) -> Question | None:
    """What is doubtful about one value; None when it fits."""
    before, after = candidate.before, candidate.after
    here = Neighbour(candidate.time_ms, candidate.value)
    found: tuple[Doubt, Side, Neighbour] | None = None
    if before is not None and (doubt := _doubt(before, here, candidate.register)):
        found = doubt, "before", before
    elif after is not None and (doubt := _doubt(here, after, candidate.register)):
        found = doubt, "after", after
    return None if found is None else Question(*found, *expected(candidate))


def questions(candidates: Sequence[Candidate]) -> list[Question | None]:
    """What is doubtful about each of many values, in their order; they are neighbours of each other as well.

    The values of one register are gone through by time. A value that is doubtful is no neighbour of the next one: one
    wrong line of a file makes one question, not two.
    """
    answers: list[Question | None] = [None] * len(candidates)
    last: dict[tuple[int, ...], Neighbour] = {}
    for nth in sorted(range(len(candidates)), key=lambda n: (candidates[n].series, candidates[n].time_ms)):
        one = candidates[nth]
        inside = last.get(one.series)
        if inside is not None and (one.before is None or inside.time_ms > one.before.time_ms):
            one = Candidate(one.series, one.time_ms, one.value, one.register, inside, one.after)
        answers[nth] = question(one)
        if answers[nth] is None:
            last[one.series] = Neighbour(one.time_ms, one.value)
    return answers


def expected(candidate: Candidate) -> tuple[int | None, int | None]:
    """The least and the greatest value that would fit (base unit); (None, None) when none does.

    The least is greater than the greatest when the register may have started again at 0. That it went round once
    and came past the value before is not expected, though it is not asked about where it can be.
    """
    modulus = candidate.register.modulus
    before, after = candidate.before, candidate.after
    low, high = 0, modulus - 1
    if before is not None:
        low = before.value
        most = before.value + advance_within(candidate.time_ms - before.time_ms, candidate.register)
        high = min(most, before.value + modulus - 1) if _near_end(before.value, modulus) else min(most, high)
    if after is not None:
        # Seen from before, a value after the register started again is one modulus further on.
        end = after.value + (modulus if before is not None and after.value < before.value else 0)
        low = max(low, end - advance_within(after.time_ms - candidate.time_ms, candidate.register))
        high = min(high, end)
    return (low % modulus, high % modulus) if low <= high else (None, None)


def advance_within(span_ms: int, register: Register) -> int:
    """The most that the register can advance in this time (base unit), rounded down."""
    return register.max_per_hour * span_ms // HOUR_MS


def _doubt(earlier: Neighbour, later: Neighbour, register: Register) -> Doubt | None:
    advance = later.value - earlier.value
    allowed = advance_within(later.time_ms - earlier.time_ms, register)
    if advance >= 0:
        return "maximum" if advance > allowed else None
    turned = _near_end(earlier.value, register.modulus) and advance + register.modulus <= allowed
    return None if turned else "backward"


def _near_end(value: int, modulus: int) -> bool:
    return 10 * value >= 9 * modulus
