"""The right template wins, a wrong one is found out."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.contract.messages import Quality
from gateway.contract.quantities import BY_CODE
from gateway.drivers.base import Reading
from gateway.onsite.guess import SURE, Guess, Trial, judge, ranked

METER = {
    "voltage_l1": 230_100, "voltage_l2": 229_800, "voltage_l3": 231_000, "frequency": 50_010,
    "current_l1": 5_000, "current_l2": 4_000, "current_l3": 6_000, "power_factor_total": 950,
    "power_active_l1": 1_100, "power_active_l2": 880, "power_active_l3": 1_320, "power_active_total": 3_300,
    "energy_import_total": 4_821_300,
}  # fmt: skip


def trial(values: dict[str, int], template: str = "t", asked: int = 2, answered: int = 2, **more: object) -> Trial:
    return Trial(template, asked, answered, [Reading(*one, 0) for one in values.items()], **more)  # type: ignore[arg-type]


def score(*arguments: object, **named: object) -> int:
    guess = judge(trial(*arguments, **named))  # type: ignore[arg-type]
    assert guess is not None
    return guess.score


def test_a_meter_that_makes_sense_fits_and_says_why() -> None:
    guess = judge(trial(METER))
    assert guess is not None
    assert guess.score >= 90
    assert {"voltage_l1 230.100 V", "frequency 50.010 Hz"} <= set(guess.reasons)
    assert "the phases of power_active add up to its total" in guess.reasons


def test_values_that_no_meter_shows_speak_against() -> None:
    for wrong, reason in (
        ({"voltage_l1": 4_310_000}, "voltage_l1 4310.000 V is no mains voltage"),
        ({"frequency": 4_096_000}, "frequency 4096.000 Hz is no mains frequency"),
        ({"power_factor_total": 32_767}, "power_factor_total 32.767 is no power factor"),
        ({"energy_import_total": -1}, "energy_import_total -0.001 kWh: a register that only counts up"),
        ({"power_active_total": 9_000}, "the phases of power_active do not add up to its total"),
        ({"power_active_l1": 500_000}, "power_active_l1 is more than voltage times current"),
    ):
        guess = judge(trial(METER | wrong))
        assert guess is not None
        assert guess.score < score(METER)
        assert any(told.startswith(reason) for told in guess.reasons), guess.reasons


def test_refusals_missing_values_and_zeros_weaken() -> None:
    best = score(METER)
    assert score(METER, answered=1) < best // 2
    assert score(METER, missing=4) < best
    assert score(METER, errors=2) < score(METER, missing=2)
    assert score(dict.fromkeys(METER, 0)) < 40
    out = Trial("t", 1, 1, [Reading("temperature_supply", 20_000, int(Quality.OUT_OF_RANGE))])
    assert (judge(out) or Guess("", 100, ())).score < score({"temperature_supply": 20_000})


def test_a_phase_that_is_not_connected_is_no_reason_against() -> None:
    one_phase = METER | {"voltage_l2": 0, "voltage_l3": 0}
    assert score(one_phase) >= 85


def test_an_identity_weighs_half() -> None:
    assert score(METER, identity=True) > max(score(METER), SURE)
    assert score({"energy_import_total": 0}, identity=True) > score({"energy_import_total": 0})
    nonsense = METER | {"voltage_l1": 4_310_000, "frequency": 4_096_000, "energy_import_total": -1}
    assert score(nonsense, identity=True) < score(METER)  # the identity may be no more than a small number
    assert judge(trial(METER, identity=False)) is None
    assert judge(trial({}, answered=0)) is None


def test_the_best_come_first_and_no_more_than_wanted() -> None:
    guesses = [Guess("b", 50, ()), None, Guess("a", 50, ()), Guess("c", 90, ()), Guess("d", 0, ())]
    assert [guess.template for guess in ranked(guesses, 2)] == ["c", "a"]
    assert len(ranked(guesses, 9)) == 3


@given(st.dictionaries(st.sampled_from(list(BY_CODE)), st.integers(-(2**63), 2**63 - 1), max_size=12))
def test_any_values_get_a_score_between_0_and_100(values: dict[str, int]) -> None:
    assert 0 <= score(values) <= 100
