"""A lane lets in by a permit exactly whom the cloud covers from then on: the same lots, class, plates, times."""

from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.periods import in_ms
from cloud.parking.permits.coverage import Stay, covered_by
from cloud.parking.permits.telling import Entries, entries_of
from cloud.parking.permits.terms import ClassUntil, PlateTime, Terms
from gateway.access.decision import AccessPolicy, AccessRequest, decide
from gateway.access.index import AccessIndex
from tests.unit.cloud.parking.permits import facts
from tests.unit.cloud.parking.permits.facts import CLASSES, ELSEWHERE, HOURS, INNER, LANES, OUTER, PLATES, hour, span

CODES = {OUTER: "outer", INNER: "inner", ELSEWHERE: "elsewhere"}
DEVICES = {1: "yard", 2: "goods"}
ONE = Terms(
    permit_id=1,
    lots=frozenset({OUTER}),
    spaces=0,
    when_freed="never",
    grace=timedelta(0),
    ended_at=None,
    periods=(span(0, 100),),
    suspended=(),
    plates=(PlateTime("A", (span(0, None),)),),
)


@given(
    facts.terms(),
    st.sampled_from(PLATES),
    st.sampled_from(sorted(CODES)),
    st.sampled_from(CLASSES),
    st.sampled_from(LANES),
    st.integers(0, HOURS + 9),
)
def test_who_comes_is_covered_from_then_on_or_is_a_temporary_vehicle(
    terms: Terms, plate: str, lot_id: int, vehicle_class: str, lane_id: int, came: int
) -> None:
    """Alone in the lot, so that spaces are left for it: who takes the last one is another test's question."""
    stay = Stay(plate, lot_id, hour(came), None, vehicle_class, lane_id)
    covered = [span for _, _, spans in covered_by([terms], [stay]) for span in spans]
    lots = tuple(sorted(CODES[one] for one in terms.lots))
    told = Entries(entries_of(terms, lots, hour(0)), terms.lanes_at(hour(came)))  # lanes: as they are when it comes
    index = AccessIndex(told.at(DEVICES))
    at = in_ms(hour(came))
    known = index.state(plate, vehicle_class, CODES[lot_id], at)
    asked = AccessRequest(plate, vehicle_class, "entry", at, DEVICES[lane_id])
    decision = decide(asked, known, AccessPolicy())
    by_permit = decision.rule in ("permit", "permit-grace")
    assert by_permit is any(one.start <= hour(came) < one.end for one in covered)


def test_a_permit_for_a_class_covers_that_class_and_no_other() -> None:
    """The property above would hold as well if neither of them looked."""
    terms = replace(ONE, vehicle_class="large")
    large, small = (Stay("A", OUTER, hour(1), hour(2), name) for name in ("large", "small"))
    assert [stay for _, stay, _ in covered_by([terms], [large, small])] == [large]
    index = AccessIndex(entries_of(terms, ("outer",), hour(0)))
    at = in_ms(hour(1))
    rules = [
        decide(AccessRequest("A", name, "entry", at), index.state("A", name, "outer", at), AccessPolicy()).rule
        for name in ("large", "small")
    ]
    assert rules == ["permit", "temporary"]


def test_what_holds_now_is_told_however_often_the_permit_was_changed() -> None:
    """What is over gives way first: a lane that knows only that takes a holder for a temporary vehicle."""
    changes = tuple(ClassUntil(hour(one), ("large", "small")[one % 2]) for one in range(1, 26))
    terms = replace(ONE, vehicle_class="small", classes_before=changes)
    index = AccessIndex(entries_of(terms, ("outer",), hour(26)))
    at = in_ms(hour(26))
    known = index.state("A", "small", "outer", at)
    assert decide(AccessRequest("A", "small", "entry", at), known, AccessPolicy()).rule == "permit"
