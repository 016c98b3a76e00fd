"""Stays from passages: the order in which they become known changes nothing."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from random import Random
from typing import get_args
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cloud.parking.stays.matching import (
    Direction,
    Incident,
    LotRules,
    Matching,
    Outcome,
    SeenPassage,
    Unseen,
    match_passages,
    match_unlicensed,
)

START = datetime(2026, 5, 1, tzinfo=UTC)


def _passage(number: int, second: int, direction: Direction, outcome: Outcome = "passed", lane: int = 0) -> SeenPassage:
    lane_id = lane or (1 if direction == "entry" else 2)
    return SeenPassage(UUID(int=number), lane_id, direction, START + timedelta(seconds=second), outcome)


def _spans(matching: Matching) -> list[tuple[str, int | None, int | None]]:
    def second(instant: datetime | None) -> int | None:
        return None if instant is None else (instant - START) // timedelta(seconds=1)

    return [(stay.state, second(stay.entered_at), second(stay.left_at)) for stay in matching.stays]


def test_an_entry_opens_and_an_exit_closes() -> None:
    passages = [_passage(1, 0, "entry"), _passage(2, 3600, "exit")]
    assert _spans(match_passages(passages[:1])) == [("open", 0, None)]
    assert _spans(match_passages(passages)) == [("closed", 0, 3600)]


def test_an_exit_that_arrives_before_its_entry() -> None:
    exit_first = match_passages([_passage(2, 3600, "exit")])
    assert _spans(exit_first) == [("unmatched", None, 3600)]
    assert exit_first.incidents == {UUID(int=2): Incident.EXIT_WITHOUT_ENTRY}
    both = match_passages([_passage(2, 3600, "exit"), _passage(1, 0, "entry")])
    assert (_spans(both), both.incidents) == ([("closed", 0, 3600)], {})


def test_a_second_entry_ends_the_stay_before_as_unmatched() -> None:
    matching = match_passages([_passage(1, 0, "entry"), _passage(2, 3600, "entry"), _passage(3, 7200, "exit")])
    assert _spans(matching) == [("unmatched", 0, 3600), ("closed", 3600, 7200)]
    assert matching.incidents == {UUID(int=2): Incident.SECOND_ENTRY}


def test_seen_again_at_the_same_lane_within_seconds_is_one_passage() -> None:
    matching = match_passages([_passage(1, 0, "entry"), _passage(2, 30, "entry"), _passage(3, 60, "entry")])
    assert _spans(matching) == [("open", 0, None)]
    assert matching.incidents == {UUID(int=2): Incident.REPEATED, UUID(int=3): Incident.REPEATED}
    assert len(match_passages([_passage(1, 0, "entry"), _passage(2, 31, "entry")]).stays) == 2


def test_seen_at_another_lane_within_seconds_is_one_passage() -> None:
    other = match_passages([_passage(1, 0, "entry"), _passage(2, 10, "entry", lane=7)])
    assert (_spans(other), other.incidents) == ([("open", 0, None)], {UUID(int=2): Incident.OTHER_LANE})
    assert len(match_passages([_passage(1, 0, "entry"), _passage(2, 11, "entry", lane=7)]).stays) == 2


def test_out_and_in_again_within_seconds_is_no_repetition() -> None:
    matching = match_passages([_passage(1, 0, "entry"), _passage(2, 10, "exit"), _passage(3, 20, "entry")])
    assert _spans(matching) == [("closed", 0, 10), ("open", 20, None)]


def test_turning_back_at_the_exit_keeps_the_stay_open() -> None:
    matching = match_passages([_passage(1, 0, "entry"), _passage(2, 60, "exit", "turned-back")])
    assert _spans(matching) == [("open", 0, None)]
    assert matching.stays[0].passages == [UUID(int=1), UUID(int=2)]


def test_waiting_or_refused_at_the_entry_is_not_inside() -> None:
    assert _spans(match_passages([_passage(1, 0, "entry", "arrived"), _passage(2, 5, "entry", "refused")])) == []


def test_without_a_plate_every_passage_stands_alone() -> None:
    assert _spans(match_unlicensed(_passage(1, 0, "entry"))) == [("open", 0, None)]
    assert _spans(match_unlicensed(_passage(2, 60, "exit"))) == [("unmatched", None, 60)]
    assert _spans(match_unlicensed(_passage(2, 60, "exit", "arrived"))) == []


@st.composite
def passage_sets(draw: st.DrawFn) -> list[SeenPassage]:
    count = draw(st.integers(0, 12))
    return [
        _passage(
            number,
            draw(st.integers(0, 200)),
            direction := draw(st.sampled_from(get_args(Direction))),
            draw(st.sampled_from(get_args(Outcome))),
            draw(st.integers(1, 2)) + (2 if direction == "exit" else 0),
        )
        for number in range(count)
    ]


@given(passage_sets(), st.randoms(use_true_random=False))
def test_any_order_gives_the_same_stays(passages: list[SeenPassage], random: Random) -> None:
    shuffled = passages.copy()
    random.shuffle(shuffled)
    assert match_passages(shuffled) == match_passages(passages)


def test_who_comes_back_goes_on_with_a_stay_whose_both_ends_were_seen_and_with_no_other() -> None:
    rules = {0: LotRules(reentry_within=timedelta(minutes=15))}
    told = [_passage(1, 0, "entry"), _passage(2, 3600, "exit"), _passage(3, 4500, "entry")]
    assert _spans(match_passages(told, rules)) == [("open", 0, None)]
    assert _spans(match_passages(told[1:], rules)) == [("unmatched", None, 3600), ("open", 4500, None)]
    later = [*told[:2], _passage(3, 4501, "entry")]
    assert _spans(match_passages(later, rules)) == [("closed", 0, 3600), ("open", 4501, None)]


def test_the_last_stay_goes_on_only_when_it_began_not_too_long_ago() -> None:
    rules = {0: LotRules(unseen={"": Unseen(last_known=True)}, last_known_within=timedelta(hours=2))}
    told = [_passage(1, 0, "entry"), _passage(2, 3600, "exit")]
    assert _spans(match_passages([*told, _passage(3, 7200, "exit")], rules)) == [("closed", 0, 7200)]
    late = match_passages([*told, _passage(3, 7201, "exit")], rules)
    assert _spans(late) == [("closed", 0, 3600), ("unmatched", None, 7201)]


@given(passage_sets())
def test_stays_do_not_overlap_and_only_the_last_may_be_open(passages: list[SeenPassage]) -> None:
    stays = match_passages(passages).stays
    for stay, following in pairwise(stays):
        assert stay.left_at is not None
        assert stay.began_at <= stay.left_at <= following.began_at
    members = [member for stay in stays for member in stay.passages]
    assert len(members) == len(set(members))


@given(passage_sets())
def test_matching_may_start_again_at_any_ordinary_stay(passages: list[SeenPassage]) -> None:
    whole = match_passages(passages)
    for index, stay in enumerate(whole.stays):
        if stay.opening in whole.incidents or stay.opening is None:
            continue
        ordered = sorted(passages, key=lambda p: (p.taken_at, p.direction == "exit", p.id))
        start = [p.id for p in ordered].index(stay.opening)
        assert match_passages(ordered[start:]).stays == whole.stays[index:]
