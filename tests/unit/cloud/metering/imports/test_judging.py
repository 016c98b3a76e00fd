"""Rows judged by their neighbours, and registers that run on by the quantities of intervals."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from cloud.metering.imports.judging import Answer, Around, InForce, Judging, Row, Stored
from cloud.metering.readings.neighbours import Candidate, Neighbour, Register, question

HOUR = 3_600_000
METER, CHANNEL = 7, 1
MODULUS = 1_000
REGISTER = InForce(0, 10**12, Register(MODULUS, 60))


@dataclass
class Store:
    """A store of one register in a dictionary."""

    values: dict[int, int] = field(default_factory=dict)

    def around(self, ms: int) -> Stored:
        before = max((one for one in self.values if one < ms), default=None)
        after = min((one for one in self.values if one > ms), default=None)
        return Stored(self.values.get(ms), self._stood(before), self._stood(after))

    def _stood(self, ms: int | None) -> Neighbour | None:
        return None if ms is None else Neighbour(ms, self.values[ms])


def run(rows: Sequence[Row], store: Store, portions: Sequence[int] = (), opening: int = 0) -> dict[int, Answer]:
    """Answers of all rows; stored in portions that end at these places."""
    judging = Judging(Decimal(opening).scaleb(-3))
    found: dict[int, Answer] = {}
    edges = [0, *sorted({one for one in portions if one < len(rows)}), len(rows)]
    for start, end in pairwise(edges):
        portion = rows[start:end]
        waiting = [row for row in portion if row.outcome == "waiting"]
        instants = {ms for row in waiting for ms in (row.taken_ms, row.until_ms) if ms is not None}
        around = Around(
            {(METER, CHANNEL, ms): store.around(ms) for ms in instants}, {row.line: REGISTER for row in waiting}
        )
        for row in portion:
            judging.judge(row, around)
        answers, readings = judging.taken()
        found |= {one.line: one for one in answers}
        for reading in readings:
            assert reading.ms not in store.values
            store.values[reading.ms] = reading.value
    return found


def intervals(lengths: Sequence[tuple[int, int, int]], bad: frozenset[int] = frozenset()) -> list[Row]:
    """Rows of (pause before it in h, length in h, quantity); those in `bad` were refused before."""
    rows, at = [], 0
    for nth, (pause, length, quantity) in enumerate(lengths):
        start = at + pause * HOUR
        at = start + length * HOUR
        rows.append(Row(nth + 1, METER, CHANNEL, start, at, quantity, "refused" if nth in bad else "waiting"))
    return rows


LENGTHS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3), st.integers(0, 200)), min_size=1, max_size=25)


def advance(store: Store) -> int:
    """What the register counted, over its turns."""
    values = [store.values[ms] for ms in sorted(store.values)]
    return sum((b - a) % MODULUS for a, b in pairwise(values))


@given(LENGTHS, st.sets(st.integers(0, 24)), st.integers(0, MODULUS - 1), st.sets(st.integers(1, 24)))
def test_the_register_advances_by_the_sum_of_what_is_stored(
    lengths: list[tuple[int, int, int]], bad: set[int], opening: int, portions: set[int]
) -> None:
    rows, store = intervals(lengths, frozenset(bad)), Store()
    found = run(rows, store, sorted(portions), opening)
    stored = [row for row in rows if row.line in found and found[row.line].outcome == "stored"]
    assert advance(store) == sum(row.value or 0 for row in stored)
    # Everything up to the first row that is refused or asks is stored, and nothing behind it.
    first = next((n for n, row in enumerate(rows) if row not in stored), len(rows))
    assert [row.line for row in stored] == [row.line for row in rows[:first]]
    for row in stored:
        assert store.values[row.until_ms or 0] == found[row.line].register
    assert run(rows, Store(), (), opening) == found


@given(LENGTHS, st.sets(st.integers(0, 24)), st.integers(0, 24))
def test_broken_off_and_begun_again_it_says_the_same(
    lengths: list[tuple[int, int, int]], bad: set[int], killed: int
) -> None:
    rows = intervals(lengths, frozenset(bad))
    whole_store, store = Store(), Store()
    whole = run(rows, whole_store)
    first = run(rows[:killed], store)
    later = [
        replace(row, outcome=first[row.line].outcome, register=first[row.line].register) if row.line in first else row
        for row in rows
    ]
    assert first | run(later, store) == whole
    assert store.values == whole_store.values


@given(LENGTHS)
def test_sent_again_everything_is_there(lengths: list[tuple[int, int, int]]) -> None:
    rows, store = intervals(lengths), Store()
    first = run(rows, store)
    before = dict(store.values)
    for line, answer in run(rows, store).items():
        assert answer.outcome == ("repeated" if first[line].outcome == "stored" else first[line].outcome)
    assert store.values == before


@given(LENGTHS, st.integers(0, 24))
def test_a_repaired_row_and_those_behind_it_follow(lengths: list[tuple[int, int, int]], bad: int) -> None:
    whole_store, store = Store(), Store()
    rows = intervals(lengths)
    whole = run(rows, whole_store)
    first = run(intervals(lengths, frozenset([bad])), store)
    left = [row for row in rows if row.line not in first or first[row.line].outcome != "stored"]
    assert first | run(left, store) == whole
    assert store.values == whole_store.values


def test_confirmed_the_register_stands_still_over_the_missing_row() -> None:
    lengths = [(0, 1, 10), (0, 1, 20), (0, 1, 30), (0, 1, 40)]
    rows, store = intervals(lengths, frozenset([1])), Store()
    found = run(rows, store)
    assert [(one.outcome, one.code) for one in found.values()] == [
        ("stored", ""), ("needs-confirmation", "after-refused"), ("needs-confirmation", "after-refused"),
    ]  # fmt: skip
    confirmed = [rows[1], replace(rows[2], confirmed="after-refused"), rows[3]]
    found = run(confirmed, store)
    assert [one.outcome for one in found.values()] == ["stored", "stored"]
    assert store.values == {0: 0, HOUR: 10, 2 * HOUR: 10, 3 * HOUR: 40, 4 * HOUR: 80}


def test_what_is_too_much_for_the_meter_is_asked_about_and_not_confirmed_by_the_way() -> None:
    rows = [replace(row, confirmed="after-refused") for row in intervals([(0, 1, 10), (0, 1, 61), (0, 1, 5)])]
    found = run(rows, Store())
    assert [(one.outcome, one.code) for one in found.values()] == [
        ("stored", ""), ("needs-confirmation", "maximum"), ("stored", ""),
    ]  # fmt: skip


def test_what_is_confirmed_is_believed_for_what_was_asked() -> None:
    too_much = intervals([(0, 1, 10), (0, 1, 61)])[1]
    backward = Row(3, METER, CHANNEL, 9 * HOUR, None, 5, "waiting")
    for row, code, other in ((too_much, "maximum", "backward"), (backward, "backward", "maximum")):
        judging = Judging()
        around = Around({(METER, CHANNEL, row.taken_ms): Stored(None, Neighbour(0, 10))}, {row.line: REGISTER})
        for confirmed, outcome in (("", "needs-confirmation"), (other, "needs-confirmation"), (code, "stored")):
            judging.judge(replace(row, confirmed=confirmed), around)
            answers, readings = judging.taken()
            assert [(one.outcome, one.code) for one in answers] == [(outcome, code)]
            assert [one.believed for one in readings][-1:] == ([True] if outcome == "stored" else [])


def test_overlapping_and_doubled_intervals() -> None:
    one, *_ = intervals([(0, 2, 10)])
    rows = [
        one,
        replace(one, line=2),
        replace(one, line=3, value=11),
        replace(one, line=4, taken_ms=HOUR, until_ms=3 * HOUR),
    ]
    found = run(rows, Store())
    assert [(answer.outcome, answer.code) for answer in found.values()] == [
        ("stored", ""), ("repeated", ""), ("other-value", "other-value"), ("refused", "overlap"),
    ]  # fmt: skip


def test_it_goes_on_from_what_is_stored() -> None:
    store = Store({0: 990})
    found = run(intervals([(1, 1, 20), (0, 1, 5)]), store)
    assert [(one.outcome, one.register) for one in found.values()] == [("stored", 10), ("stored", 15)]
    assert store.values == {0: 990, HOUR: 990, 2 * HOUR: 10, 3 * HOUR: 15}


def test_what_is_stored_behind_it_has_to_fit() -> None:
    store = Store({0: 100, 2 * HOUR: 130})
    found = run(intervals([(0, 1, 20), (0, 1, 20)]), store)
    assert [(one.outcome, one.detail) for one in found.values()] == [
        ("stored", ""), ("other-value", "0.130 kWh is stored at its end, not 0.140 kWh"),
    ]  # fmt: skip
    found = run(intervals([(0, 1, 40)]), Store({0: 100, 2 * HOUR: 130}))
    assert [(one.outcome, one.code) for one in found.values()] == [("needs-confirmation", "backward")]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, MODULUS - 1)), min_size=1, max_size=20))
def test_register_readings_that_are_stored_never_contradict_each_other(readings: list[tuple[int, int]]) -> None:
    readings = sorted(readings)
    rows = [Row(n + 1, METER, CHANNEL, at * HOUR, None, value, "waiting") for n, (at, value) in enumerate(readings)]
    store = Store()
    found = run(rows, store)
    assert len(found) == len(rows)
    stood = [Neighbour(ms, value) for ms, value in sorted(store.values.items())]
    assert all(
        question(Candidate((1,), b.time_ms, b.value, REGISTER.register, before=a)) is None for a, b in pairwise(stood)
    )
    for row in rows:
        there = store.values.get(row.taken_ms)
        outcome = found[row.line].outcome
        assert outcome != "repeated" or there == row.value
        assert outcome != "other-value" or there not in (None, row.value)
        assert outcome != "stored" or there == row.value
