"""Accounts that do not end together with the stay of their person."""

from datetime import date

import pytest

from cloud.estate.occupancies.moves import Mismatch, left_behind, mismatches
from cloud.estate.records import Account, Occupancy, Validity

HE, SHE = 1, 2
START, SPRING, SUMMER = date(2025, 1, 1), date(2026, 3, 1), date(2026, 6, 1)


def account(number: int, person: int, end: date | None, start: date = START) -> Account:
    return Account(number, 1, f"A-{number}", 1, person, f"P{person}", "1 0101", "1", Validity(start, end))


def stay(person: int, end: date | None, start: date = START) -> Occupancy:
    return Occupancy(start.toordinal() + person, 1, 1, person, f"P{person}", "tenant", Validity(start, end))


@pytest.mark.parametrize(
    ("account_ends", "stay_ends", "told"),
    [
        (None, None, []),
        (SPRING, SPRING, []),
        (None, SPRING, [SPRING]),
        (SUMMER, SPRING, [SPRING]),
        (SPRING, None, [None]),
        (SPRING, SUMMER, []),
    ],
)
def test_an_account_and_a_stay_end_together(
    account_ends: date | None, stay_ends: date | None, told: list[date | None]
) -> None:
    found = mismatches([account(1, HE, account_ends)], [stay(HE, stay_ends)])
    assert [one.until for one in found] == told


def test_who_pays_without_living_there_fits() -> None:
    assert mismatches([account(1, HE, None)], [stay(SHE, SPRING)]) == []


def test_who_came_back_has_not_left() -> None:
    stays = [stay(HE, SPRING), stay(HE, None, SUMMER)]
    assert mismatches([account(1, HE, None)], stays) == []


def test_an_account_that_another_one_follows_has_not_left_anybody_behind() -> None:
    old, new = account(1, HE, SPRING), account(2, HE, None, SPRING)
    assert mismatches([old, new], [stay(HE, None)]) == []
    assert mismatches([old, new], [stay(HE, SUMMER)]) == [Mismatch(new, SUMMER)]
    assert left_behind([Mismatch(new, SUMMER), Mismatch(old, None)]) == {2: SUMMER}
