"""The decision at a lane, rule by rule and in their order."""

import pytest

from gateway.access.decision import (
    AccessPolicy,
    AccessRequest,
    AccessState,
    Decision,
    Direction,
    Permit,
    Verdict,
    decide,
    normal_plate,
)

NOW = 1_764_000_000_000
PLATE = "京A12345"
VALID = {PLATE: (Permit(NOW - 1, NOW + 1),)}


def judge(direction: Direction, state: AccessState, policy: AccessPolicy | None = None, plate: str = PLATE) -> Decision:
    return decide(AccessRequest(plate, "small", direction, NOW), state, policy or AccessPolicy())


@pytest.mark.parametrize(
    ("state", "policy", "verdict", "rule"),
    [
        (AccessState(), AccessPolicy(), Verdict.OPEN, "temporary"),
        (AccessState(free_spaces=1), AccessPolicy(), Verdict.OPEN, "temporary"),
        (AccessState(free_spaces=0), AccessPolicy(), Verdict.REFUSE, "lot-full"),
        (AccessState(free_spaces=-2), AccessPolicy(), Verdict.REFUSE, "lot-full"),
        (AccessState(free_spaces=0), AccessPolicy(temporary_allowed=False), Verdict.REFUSE, "no-temporary"),
        (AccessState(permits=VALID, free_spaces=0), AccessPolicy(temporary_allowed=False), Verdict.OPEN, "permit"),
        (AccessState(whitelist=frozenset({PLATE}), permits=VALID), AccessPolicy(), Verdict.OPEN, "whitelist"),
        (
            AccessState(blacklist=frozenset({PLATE}), whitelist=frozenset({PLATE}), permits=VALID),
            AccessPolicy(),
            Verdict.REFUSE,
            "blacklist",
        ),
    ],
)
def test_entry(state: AccessState, policy: AccessPolicy, verdict: Verdict, rule: str) -> None:
    assert judge("entry", state, policy) == Decision(verdict, rule)


@pytest.mark.parametrize(
    ("state", "policy", "verdict", "rule"),
    [
        (AccessState(), AccessPolicy(), Verdict.AWAIT_CLOUD, "await-cloud"),
        (AccessState(), AccessPolicy(when_cloud_silent="open"), Verdict.AWAIT_CLOUD, "await-cloud"),
        (AccessState(cloud_silent=True), AccessPolicy(), Verdict.OPERATOR, "cloud-silent"),
        (AccessState(cloud_silent=True), AccessPolicy(when_cloud_silent="open"), Verdict.OPEN, "cloud-silent"),
        (AccessState(permits=VALID), AccessPolicy(), Verdict.OPEN, "permit"),
        (AccessState(whitelist=frozenset({PLATE})), AccessPolicy(), Verdict.OPEN, "whitelist"),
        (AccessState(blacklist=frozenset({PLATE})), AccessPolicy(), Verdict.AWAIT_CLOUD, "await-cloud"),
        (AccessState(free_spaces=0), AccessPolicy(temporary_allowed=False), Verdict.AWAIT_CLOUD, "await-cloud"),
    ],
)
def test_exit(state: AccessState, policy: AccessPolicy, verdict: Verdict, rule: str) -> None:
    assert judge("exit", state, policy) == Decision(verdict, rule)


@pytest.mark.parametrize(
    ("permit", "rule"),
    [
        (Permit(NOW, NOW + 1), "permit"),
        (Permit(NOW - 10, NOW), "temporary"),
        (Permit(NOW + 1, NOW + 10), "temporary"),
    ],
)
def test_a_permit_covers_its_first_moment_and_not_its_end(permit: Permit, rule: str) -> None:
    assert judge("entry", AccessState(permits={PLATE: (permit,)})).rule == rule


def test_a_vehicle_without_a_plate_waits_for_a_person_whatever_the_lists_hold() -> None:
    state = AccessState(blacklist=frozenset({""}), whitelist=frozenset({""}), permits={"": (Permit(0, NOW * 2),)})
    assert judge("entry", state, plate="") == Decision(Verdict.OPERATOR, "no-plate")
    assert judge("exit", state, plate="").verdict is Verdict.AWAIT_CLOUD


@pytest.mark.parametrize("text", ["京A12345", "京a12345", "京A·12345", " 京A 123-45 "])
def test_plates_are_compared_without_separators_and_case(text: str) -> None:
    assert normal_plate(text) == PLATE
