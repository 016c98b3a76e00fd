"""Shares add up, are those of fractions to within one, and do not depend on order."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.apportionment.shares import NothingToShareBy, Participant, share_out

PARTICIPANTS = st.lists(
    st.tuples(st.integers(0, 50), st.integers(0, 10**9), st.integers(0, 31)), min_size=1, max_size=40,
    unique_by=lambda row: row[0],
).map(lambda rows: [Participant((key,), weight, days) for key, weight, days in rows])  # fmt: skip


@given(st.integers(0, 10**18), PARTICIPANTS, st.randoms())
def test_shares_add_up_and_are_fair(amount: int, members: list[Participant], random: object) -> None:
    total = sum(one.weight * one.days for one in members)
    if total == 0:
        with pytest.raises(NothingToShareBy):
            share_out(amount, members)
        return
    found = share_out(amount, members)
    assert sum(found.shares.values()) == amount == found.amount
    for one in members:
        exact = Fraction(amount * one.weight * one.days, total)
        assert abs(found.shares[one.key] - exact) < 1
        assert one.weight * one.days or found.shares[one.key] == 0
    # Largest remainder: nobody who was rounded down had a larger remainder than one who was rounded up.
    rest = {one.key: Fraction(amount * one.weight * one.days, total) % 1 for one in members}
    up = [key for key, share in found.shares.items() if share > Fraction(_counts(members)[key] * amount, total)]
    down = [key for key in rest if rest[key] and key not in up]
    assert all((rest[one], [-n for n in one]) > (rest[other], [-n for n in other]) for one in up for other in down)
    random.shuffle(members)  # type: ignore[attr-defined]
    assert share_out(amount, members) == found


def _counts(members: list[Participant]) -> dict[tuple[int, ...], int]:
    return {one.key: one.weight * one.days for one in members}


def test_equal_remainders_go_to_the_smallest_key() -> None:
    members = [Participant((key,), 1) for key in (9, 3, 7)]
    assert share_out(11, members).shares == {(3,): 4, (7,): 4, (9,): 3}


def test_who_moved_in_in_mid_period_pays_for_his_days() -> None:
    members = [Participant((1, 0), 8_000, 10), Participant((1, 10), 8_000, 20), Participant((2, 0), 4_000, 30)]
    assert share_out(3_600, members).shares == {(1, 0): 800, (1, 10): 1_600, (2, 0): 1_200}


def test_a_negative_loss_is_nobodys() -> None:
    found = share_out(-5, [Participant((1,), 1)])
    assert (found.found, found.amount, found.is_negative, found.shares) == (-5, 0, True, {(1,): 0})


@pytest.mark.parametrize("members", [[Participant((1,), -1)], [Participant((1,), 1), Participant((1,), 2)]])
def test_what_is_no_list_of_participants(members: list[Participant]) -> None:
    with pytest.raises(ValueError, match="every participant"):
        share_out(1, members)
