"""What a second start remembers: choices of the first, steps done, passwords."""

from datetime import date
from pathlib import Path

import pytest

from cloud.kit.periods import Period
from simulators.demo.bills import closed_months
from simulators.demo.options import DemoOptions
from simulators.demo.secrets_file import load_secrets
from simulators.demo.state import DemoState

SEPTEMBER = Period(date(2026, 9, 1), date(2026, 10, 1))
OCTOBER = Period(date(2026, 10, 1), date(2026, 11, 1))


def test_a_second_start_keeps_the_choices_of_the_first(tmp_path: Path) -> None:
    first = DemoState.open(DemoOptions(tmp_path, seed=7, floors=2, history_months=3))
    again = DemoState.open(DemoOptions(tmp_path, seed=1, floors=10, history_months=13))
    kept = again.options_of(DemoOptions(tmp_path, port=9999))
    assert (kept.seed, kept.floors, kept.port) == (7, 2, 9999)
    assert again.since == first.since


def test_a_finished_step_stays_finished_with_its_facts(tmp_path: Path) -> None:
    state = DemoState.open(DemoOptions(tmp_path))
    assert not state.finished("estate")
    state.finish("estate", project_id=5)
    again = DemoState.open(DemoOptions(tmp_path))
    assert again.finished("estate")
    assert not again.finished("history")
    assert again.facts["project_id"] == 5


def test_every_start_has_other_traffic(tmp_path: Path) -> None:
    seeds = [DemoState.open(DemoOptions(tmp_path)).traffic_seed for _ in range(3)]
    assert len(set(seeds)) == 3


def test_passwords_are_made_once_and_kept_from_others(tmp_path: Path) -> None:
    path = tmp_path / "secrets.json"
    first = load_secrets(path, ["admin", "guard"])
    again = load_secrets(path, ["admin", "guard", "cashier"])
    assert {name: again[name] for name in first} == first
    assert len(set(again.values())) == 3
    assert min(map(len, again.values())) >= 16
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("since", "count", "expected"),
    [
        (date(2025, 10, 1), 2, [SEPTEMBER, OCTOBER]),
        (date(2026, 10, 1), 3, [OCTOBER]),
        (date(2026, 10, 2), 3, []),
        (date(2026, 11, 1), 3, []),
    ],
)
def test_only_whole_closed_months_are_billed(since: date, count: int, expected: list[Period]) -> None:
    assert closed_months(since, date(2026, 11, 24), count) == expected
