"""Misread plates: only what is certain is taken for another vehicle, and never another order of the same passages."""

from datetime import UTC, datetime, timedelta
from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cloud.parking.stays.likeness import confusable
from cloud.parking.stays.matching import Direction, Incident, LotRules, Outcome, SeenPassage, match_passages
from cloud.parking.stays.misreads import match_vehicles

START = datetime(2026, 5, 1, tzinfo=UTC)
PLATES = ("京A12345", "京A1234S", "京AI2345", "京AI234S")


def _passage(
    number: int, hour: int, plate: str, direction: Direction, outcome: Outcome = "passed", kind: str = "small"
) -> SeenPassage:
    lane = 1 if direction == "entry" else 2
    return SeenPassage(UUID(int=number), lane, direction, START + timedelta(hours=hour), outcome, kind, 0, plate)


def _misread(passages: list[SeenPassage], **rules: timedelta | None) -> set[int]:
    matching = match_vehicles(passages, {0: LotRules(**rules)})  # type: ignore[arg-type]
    return {name.int for name, incident in matching.incidents.items() if incident is Incident.MISREAD}


def test_the_only_one_that_fits() -> None:
    entered, left = _passage(1, 0, PLATES[0], "entry"), _passage(2, 3, PLATES[1], "exit")
    matching = match_vehicles([left, entered], {})
    (stay,) = matching.stays
    assert (stay.plate, stay.state, stay.closing) == (PLATES[0], "closed", left.id)
    assert (matching.incidents, matching.others) == ({left.id: Incident.MISREAD}, {left.id: entered.id})


def test_what_is_not_certain_is_left_to_people() -> None:
    entered, left = _passage(1, 0, PLATES[0], "entry"), _passage(2, 3, PLATES[1], "exit")
    assert _misread([entered, left, _passage(3, 1, PLATES[3], "entry")]) == set(), "two fit"
    assert _misread([entered, left, _passage(3, 4, PLATES[2], "exit")]) == set(), "two claim it"
    waits = _passage(3, 4, PLATES[2], "exit", outcome="arrived")
    assert _misread([entered, left, waits]) == set(), "two claim it, one of whom waits"
    assert _misread([entered, left, _passage(3, 5, PLATES[1], "exit")]) == set(), "it left twice"
    assert _misread([entered, left, _passage(3, 1, PLATES[1], "entry")]) == set(), "a vehicle of its own"
    assert _misread([entered, _passage(2, 3, PLATES[3], "exit")]) == set(), "two signs"
    assert _misread([entered, _passage(2, 3, PLATES[1], "exit", kind="large")]) == set(), "another class"
    assert _misread([entered, left], misread_within=timedelta(hours=2)) == set(), "too long ago"
    assert _misread([entered, left], misread_within=None) == set(), "people decide"
    assert _misread([entered, left, _passage(3, 2, PLATES[0], "exit")]) == set(), "it had left"
    behind = _passage(3, 9, PLATES[1], "exit", outcome="arrived")
    assert _misread([entered, left, behind]) == {left.id.int}, "what stands there later is another one"


@st.composite
def histories(draw: st.DrawFn) -> list[SeenPassage]:
    return [
        _passage(
            number,
            draw(st.integers(0, 100)),
            draw(st.sampled_from(PLATES)),
            draw(st.sampled_from(["entry", "exit"])),
            draw(st.sampled_from(["arrived", "passed", "turned-back"])),
        )
        for number in range(draw(st.integers(0, 10)))
    ]


@given(histories(), st.randoms(use_true_random=False))
def test_any_order_gives_the_same(passages: list[SeenPassage], random: Random) -> None:
    shuffled = passages.copy()
    random.shuffle(shuffled)
    assert match_vehicles(shuffled, {}) == match_vehicles(passages, {})


@given(histories())
def test_what_is_misread_lies_in_a_stay_of_a_plate_like_it_and_else_each_plate_is_by_itself(
    passages: list[SeenPassage],
) -> None:
    matching, seen = match_vehicles(passages, {}), {passage.id: passage for passage in passages}
    stay_of = {member: stay for stay in matching.stays for member in stay.passages}
    misread = {name for name, incident in matching.incidents.items() if incident is Incident.MISREAD}
    for name in misread:
        stay = stay_of[name]
        assert seen[name].direction == "exit"
        assert confusable(stay.plate, seen[name].plate)
        assert stay.entered_at is not None
        assert stay.entered_at <= seen[name].taken_at
    for name, stay in stay_of.items():
        assert name in misread or seen[name].plate == stay.plate
    if not misread:
        alone = [match_passages([one for one in passages if one.plate == plate], {}).stays for plate in sorted(PLATES)]
        assert list(matching.stays) == [stay for stays in alone for stay in stays]
