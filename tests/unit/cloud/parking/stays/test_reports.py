"""Several reports of one passage say the same in any order."""

from datetime import UTC, datetime, timedelta
from functools import reduce
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cloud.parking.stays.reports import Report, merged, progress

START = datetime(2026, 5, 1, tzinfo=UTC)
reports = st.builds(
    lambda outcome, plate, decision, later, offline: Report(
        UUID(int=1), 1, 1, plate, plate, "small", 0, "exit", START, outcome, START + timedelta(seconds=later), offline,
        decision, "", progress(outcome, plate, decision),
    ),
    st.sampled_from(["arrived", "refused", "turned-back", "passed"]),
    st.sampled_from(["", "京A12345"]),
    st.sampled_from(["", "await-cloud", "no-plate", "temporary", "cloud-silent", "command"]),
    st.integers(0, 2),
    st.booleans(),
)  # fmt: skip


@given(st.lists(reports, min_size=1, max_size=6), st.randoms(use_true_random=False))
def test_any_order_and_repetition(told: list[Report], random: object) -> None:
    again = [*told, *told[:2]]
    random.shuffle(again)  # type: ignore[attr-defined]
    assert reduce(merged, again) == reduce(merged, told)


def test_the_last_decision_counts_and_a_plate_is_never_unread() -> None:
    waiting = _report("arrived", "京A12345", "await-cloud")
    silent = _report("arrived", "京A12345", "cloud-silent")
    passed = _report("passed", "", "command")
    assert merged(silent, waiting).decision == "cloud-silent"
    both = merged(waiting, passed)
    assert (both.outcome, both.decision, both.plate_told) == ("passed", "command", "京A12345")


def test_how_far_it_got_counts_more_than_whether_its_plate_was_read_and_who_decided() -> None:
    waiting, refused = _report("arrived", "京A12345", "command"), _report("refused", "", "")
    assert merged(waiting, refused).outcome == "refused"
    assert merged(refused, waiting).outcome == "refused"


def _report(outcome: str, plate: str, decision: str) -> Report:
    return Report(UUID(int=1), 1, 1, plate, plate, "small", 0, "exit", START, outcome, START, False, decision, "",  # type: ignore[arg-type]
                  progress(outcome, plate, decision))  # type: ignore[arg-type]  # fmt: skip
