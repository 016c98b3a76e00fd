"""Second entry while inside: incident; configurable: refuse, or close the old one as unmatched."""

from cloud.kit.periods import in_ms
from gateway.access.decision import AccessPolicy, AccessRequest, Verdict, decide
from gateway.access.index import AccessIndex
from gateway.contract.access import GoneEntry
from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import NOON, minutes
from tests.integration.parking.told import heard, tell

PLATE = "京A12345"


async def test_the_old_stay_is_closed_as_unmatched_with_an_incident_of_both_entries(lot: ParkingLot) -> None:
    first = await lot.drives("entry", PLATE, NOON)
    second = await lot.drives("entry", PLATE, NOON + minutes(300))
    await lot.drives("exit", PLATE, NOON + minutes(360))
    old, new = await lot.stays()
    assert (old["state"], old["left_at"], old["fee"]) == ("unmatched", NOON + minutes(300), None)
    assert (new["state"], str(new["fee"])) == ("closed", "0.00"), "an hour is free"
    assert await lot.incidents() == [("second-entry", second.id, first.id)]


async def test_an_exit_that_comes_late_shows_that_there_was_none(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    await lot.drives("entry", PLATE, NOON + minutes(300))
    late = lot.told("exit", PLATE, NOON + minutes(100), offline=True)
    await lot.hears(late, now=NOON + minutes(301))
    assert await lot.incidents() == []
    assert [stay["state"] for stay in await lot.stays()] == ["closed", "open"]


async def test_a_lane_may_leave_it_to_a_person(lot: ParkingLot) -> None:
    await lot.drives("entry", PLATE, NOON)
    await tell(lot.db, lot.site.project_id, NOON + minutes(1))
    at = in_ms(NOON + minutes(2))
    told = [entry for entry in await heard(lot.db) if not isinstance(entry, GoneEntry)]
    known = AccessIndex(told).state(PLATE, "small", "main", at)
    wanted = AccessRequest(PLATE, "small", "entry", at)
    decision = decide(wanted, known, AccessPolicy(already_inside="operator"))
    assert (decision.verdict, decision.rule) == (Verdict.OPERATOR, "already-inside")
    assert decide(wanted, known, AccessPolicy()).verdict is Verdict.OPEN
