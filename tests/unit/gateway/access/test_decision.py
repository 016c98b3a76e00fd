"""The decision at a lane, rule by rule and in their order, and against a table of rules that is read from the top."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.decision import (
    AccessPolicy,
    AccessRequest,
    AccessState,
    Decision,
    Direction,
    Permit,
    Stay,
    Verdict,
    covered,
    decide,
    normal_plate,
)

NOW = 1_764_000_000_000
PLATE = "京A12345"
VALID = (Permit(NOW - 10, NOW + 1),)
ENDED = (Permit(NOW - 10, NOW - 1),)
GRACE = (Permit(NOW - 10, NOW - 1, grace_ms=5),)
OTHER_CLASS = (Permit(NOW - 10, NOW + 1, vehicle_class="large"),)
SHARED = (Permit(NOW - 10, NOW + 1, shared=True),)
BY_ANOTHER_LANE = (Permit(NOW - 10, NOW + 1, lanes=("goods", "yard")),)
BY_THIS_LANE = (Permit(NOW - 10, NOW + 1, lanes=("goods", "main")),)
TAKEN = (Permit(NOW - 10, NOW + 1, space_free=False),)
OPEN, REFUSE, OPERATOR, CLOUD = Verdict.OPEN, Verdict.REFUSE, Verdict.OPERATOR, Verdict.AWAIT_CLOUD


def judge(direction: Direction, state: AccessState, policy: AccessPolicy | None = None, plate: str = PLATE) -> Decision:
    return decide(AccessRequest(plate, "small", direction, NOW, "main"), state, policy or AccessPolicy())


@pytest.mark.parametrize(
    ("state", "policy", "verdict", "rule"),
    [
        (AccessState(), AccessPolicy(), OPEN, "temporary"),
        (AccessState(full=True), AccessPolicy(), REFUSE, "lot-full"),
        (AccessState(full=True), AccessPolicy(temporary_allowed=False), REFUSE, "no-temporary"),
        (AccessState(permits=VALID, full=True), AccessPolicy(temporary_allowed=False), OPEN, "permit"),
        (AccessState(permits=TAKEN), AccessPolicy(), OPEN, "temporary"),
        (AccessState(permits=TAKEN), AccessPolicy(temporary_allowed=False), REFUSE, "no-temporary"),
        (AccessState(permits=OTHER_CLASS), AccessPolicy(), OPEN, "temporary"),
        (AccessState(permits=OTHER_CLASS, full=True), AccessPolicy(), REFUSE, "lot-full"),
        (AccessState(permits=BY_THIS_LANE), AccessPolicy(temporary_allowed=False), OPEN, "permit"),
        (AccessState(permits=BY_ANOTHER_LANE), AccessPolicy(), OPEN, "temporary"),
        (AccessState(permits=BY_ANOTHER_LANE, full=True), AccessPolicy(), REFUSE, "lot-full"),
        (AccessState(permits=BY_ANOTHER_LANE), AccessPolicy(temporary_allowed=False), REFUSE, "no-temporary"),
        (AccessState(permits=ENDED), AccessPolicy(), OPEN, "temporary"),
        (AccessState(permits=ENDED), AccessPolicy(permit_expired="operator"), OPERATOR, "permit-expired"),
        (AccessState(permits=ENDED, reserved=True), AccessPolicy(permit_expired="operator"), OPEN, "reservation"),
        (AccessState(permits=GRACE), AccessPolicy(permit_expired="operator"), OPEN, "permit-grace"),
        (AccessState(reserved=True, full=True), AccessPolicy(temporary_allowed=False), OPEN, "reservation"),
        (AccessState(whitelisted=True, full=True), AccessPolicy(), OPEN, "whitelist"),
        (AccessState(whitelisted=True, closed=True), AccessPolicy(), OPEN, "whitelist"),
        (AccessState(permits=VALID, closed=True), AccessPolicy(), REFUSE, "lot-closed"),
        (AccessState(blacklisted=True, whitelisted=True, permits=VALID), AccessPolicy(), REFUSE, "blacklist"),
        (AccessState(stay=Stay(NOW - 5), permits=VALID), AccessPolicy(), OPEN, "permit"),
        (
            AccessState(stay=Stay(NOW - 5), permits=VALID),
            AccessPolicy(already_inside="operator"),
            OPERATOR,
            "already-inside",
        ),
        (AccessState(ever_told=False), AccessPolicy(temporary_allowed=False), OPERATOR, "nothing-known"),
        (
            AccessState(ever_told=False),
            AccessPolicy(temporary_allowed=False, on_failure="open"),
            OPEN,
            "nothing-known",
        ),
    ],
)
def test_entry(state: AccessState, policy: AccessPolicy, verdict: Verdict, rule: str) -> None:
    assert judge("entry", state, policy) == Decision(verdict, rule)


@pytest.mark.parametrize(
    ("state", "verdict", "rule"),
    [
        (AccessState(), CLOUD, "await-cloud"),
        (AccessState(cloud_silent=True), OPERATOR, "cloud-silent"),
        (AccessState(permits=VALID), OPEN, "permit"),
        (AccessState(permits=TAKEN), CLOUD, "await-cloud"),
        (AccessState(permits=OTHER_CLASS), CLOUD, "await-cloud"),
        (AccessState(permits=OTHER_CLASS, stay=Stay(NOW - 5)), CLOUD, "await-cloud"),
        (AccessState(permits=OTHER_CLASS, stay=Stay(NOW - 5, vehicle_class="large")), OPEN, "permit"),
        (AccessState(permits=VALID, owing=True), CLOUD, "await-cloud"),
        (AccessState(whitelisted=True, owing=True), OPEN, "whitelist"),
        (AccessState(blacklisted=True), CLOUD, "await-cloud"),
        (AccessState(permits=VALID, closed=True), OPEN, "permit"),
        (AccessState(full=True, ever_told=False), CLOUD, "await-cloud"),
        (AccessState(permits=VALID, stay=Stay(NOW - 5)), OPEN, "permit"),
        (AccessState(permits=VALID, stay=Stay(NOW - 11)), CLOUD, "await-cloud"),
        (AccessState(permits=ENDED, stay=Stay(NOW - 5)), CLOUD, "await-cloud"),
        (AccessState(permits=GRACE, stay=Stay(NOW - 5)), OPEN, "permit-grace"),
        (AccessState(permits=TAKEN, stay=Stay(NOW - 5)), CLOUD, "await-cloud"),
        (AccessState(permits=TAKEN, stay=Stay(NOW - 5, covered=True)), OPEN, "permit"),
        (AccessState(permits=SHARED, stay=Stay(NOW - 5)), CLOUD, "await-cloud"),
        (AccessState(permits=SHARED, stay=Stay(NOW - 5, covered=True)), OPEN, "permit"),
        (AccessState(permits=SHARED), OPEN, "permit"),
        (AccessState(permits=BY_ANOTHER_LANE, stay=Stay(NOW - 5)), CLOUD, "await-cloud"),
        (AccessState(permits=BY_THIS_LANE, stay=Stay(NOW - 5)), CLOUD, "await-cloud"),
        (AccessState(permits=BY_ANOTHER_LANE, stay=Stay(NOW - 5, covered=True)), OPEN, "permit"),
        (AccessState(permits=BY_ANOTHER_LANE), OPEN, "permit"),
        (AccessState(stay=Stay(NOW - 5, free_ms=5)), OPEN, "free"),
        (AccessState(stay=Stay(NOW - 5, free_ms=4)), CLOUD, "await-cloud"),
        (AccessState(stay=Stay(NOW - 5)), CLOUD, "await-cloud"),
        (AccessState(stay=Stay(NOW)), CLOUD, "await-cloud"),
        (AccessState(stay=Stay(NOW + 5, free_ms=10)), CLOUD, "await-cloud"),
        (AccessState(stay=Stay(NOW - 5, paid_until=NOW + 1)), OPEN, "paid"),
        (AccessState(stay=Stay(NOW - 5, paid_until=NOW, free_ms=60)), CLOUD, "await-cloud"),
        (AccessState(stay=Stay(NOW - 5, paid_until=NOW + 1), owing=True), CLOUD, "await-cloud"),
    ],
)
def test_exit(state: AccessState, verdict: Verdict, rule: str) -> None:
    assert judge("exit", state) == Decision(verdict, rule)


def test_a_silent_cloud_opens_where_the_operator_wants_it() -> None:
    policy = AccessPolicy(when_cloud_silent="open")
    assert judge("exit", AccessState(cloud_silent=True), policy) == Decision(OPEN, "cloud-silent")
    assert judge("exit", AccessState(), policy).verdict is CLOUD


@pytest.mark.parametrize(
    ("permit", "rule"),
    [
        (Permit(NOW, NOW + 1), "permit"),
        (Permit(NOW - 10, NOW), "temporary"),
        (Permit(NOW - 10, NOW, grace_ms=1), "permit-grace"),
        (Permit(NOW + 1, NOW + 10), "temporary"),
    ],
)
def test_a_permit_covers_its_first_moment_and_not_its_end(permit: Permit, rule: str) -> None:
    assert judge("entry", AccessState(permits=(permit,))).rule == rule


def test_a_vehicle_without_a_plate_waits_for_a_person_or_is_let_in_as_the_lane_says() -> None:
    state = AccessState(blacklisted=True, whitelisted=True, permits=VALID)
    assert judge("entry", state, plate="") == Decision(OPERATOR, "no-plate")
    assert judge("entry", state, AccessPolicy(without_plate="open"), plate="") == Decision(OPEN, "no-plate")
    assert judge("exit", state, plate="").verdict is CLOUD


@pytest.mark.parametrize(
    ("written", "normal"), [("京A·12345", "京A12345"), (" 京a-123 45 ", "京A12345"), ("", ""), ("·", "")]
)
def test_plates_are_compared_without_separators(written: str, normal: str) -> None:
    assert normal_plate(written) == normal


short = st.integers(0, 12)
permits_ = st.lists(
    st.builds(
        lambda a, n, g, s, m, c, lanes: Permit(a, a + n, g, s, m, c, lanes),
        *(short, short, short, st.booleans(), st.booleans(), st.sampled_from(["", "small", "large"])),
        st.sampled_from([None, (), ("main",), ("goods",), ("goods", "main")]),
    ),
    max_size=4,
)


@given(permits_, short, short)
def test_coverage_is_that_of_every_single_moment(permits: list[Permit], since: int, length: int) -> None:
    moments = range(since, since + length + 1)
    each = all(
        any(permit.honoured_at(at) for permit in permits if permit.valid_to >= permit.valid_from) for at in moments
    )
    assert covered(permits, since, since + length) is each


stays = st.none() | st.builds(Stay, short, short, st.booleans(), short, st.sampled_from(["", "small", "large"]))
states = st.builds(
    AccessState,
    *(st.booleans() for _ in range(3)),
    permits_.map(tuple),
    st.booleans(),
    stays,
    *(st.booleans() for _ in range(5)),
)
policies = st.builds(
    AccessPolicy,
    st.booleans(),
    st.sampled_from(["open", "operator"]),
    st.sampled_from(["temporary", "operator"]),
    *(st.sampled_from(["open", "operator"]) for _ in range(3)),
)


def by_the_table(plate: str, direction: str, at: int, s: AccessState, p: AccessPolicy) -> str:
    """Every rule with its condition, in the order of the domain; the first that holds is the one."""
    leaving = s.stay if direction == "exit" else None
    seen = (leaving.vehicle_class if leaving else "") or "small"
    mine = [permit for permit in s.permits if permit.vehicle_class in ("", seen)]
    if direction == "entry":
        mine = [permit for permit in mine if permit.lanes is None or "main" in permit.lanes]
    usable = [
        permit
        for permit in mine
        if (permit.space_free if leaving is None else leaving.covered or (permit.space_free and not permit.shared))
        and (leaving is None or leaving.covered or permit.lanes is None)
    ]
    valid = any(permit.valid_from <= at < permit.valid_to for permit in usable)
    honoured = any(permit.valid_from <= at < permit.valid_to + permit.grace_ms for permit in usable)
    ended = any(permit.valid_to <= at for permit in mine)
    if direction == "entry":
        table = [
            ("no-plate", not plate),
            ("blacklist", s.blacklisted),
            ("whitelist", s.whitelisted),
            ("not-understood", s.closed and s.not_understood),
            ("lot-closed", s.closed),
            ("already-inside", s.stay is not None and p.already_inside == "operator"),
            ("permit", valid),
            ("permit-grace", honoured),
            ("permit-expired", ended and p.permit_expired == "operator" and not s.reserved),
            ("reservation", s.reserved),
            ("nothing-known", not p.temporary_allowed and not s.ever_told),
            ("not-understood", (not p.temporary_allowed or s.full) and s.not_understood),
            ("no-temporary", not p.temporary_allowed),
            ("lot-full", s.full),
            ("temporary", True),
        ]
    else:
        known, stay = bool(plate) and not (s.owing or s.not_understood), s.stay
        whole = (
            stay is not None
            and stay.entered_at <= at
            and all(
                any(permit.valid_from <= moment < permit.valid_to + permit.grace_ms for permit in usable)
                for moment in range(stay.entered_at, at + 1)
            )
        )
        table = [
            ("whitelist", bool(plate) and s.whitelisted),
            ("permit", known and valid and (stay is None or whole)),
            ("permit-grace", known and whole),
            ("paid", known and stay is not None and stay.entered_at <= at < stay.paid_until),
            (
                "free",
                known and stay is not None and not stay.paid_until and stay.free_ms > 0
                and 0 <= at - stay.entered_at <= stay.free_ms,
            ),
            ("cloud-silent", s.cloud_silent),
            ("await-cloud", True),
        ]  # fmt: skip
    return next(rule for rule, holds in table if holds)


@given(st.sampled_from(["", PLATE]), st.sampled_from(["entry", "exit"]), st.integers(0, 30), states, policies)
def test_the_first_rule_of_the_table_that_holds_decides(
    plate: str, direction: Direction, at: int, state: AccessState, policy: AccessPolicy
) -> None:
    found = decide(AccessRequest(plate, "small", direction, at, "main"), state, policy)
    assert found.rule == by_the_table(plate, direction, at, state, policy)
    refused = dict.fromkeys(("blacklist", "lot-closed", "no-temporary", "lot-full"), REFUSE)
    fixed = {**refused, "await-cloud": CLOUD}
    asked = {
        "no-plate": policy.without_plate,
        "nothing-known": policy.on_failure,
        "not-understood": policy.on_failure,
        "cloud-silent": policy.when_cloud_silent,
        "already-inside": "operator",
        "permit-expired": "operator",
    }
    assert found.verdict is fixed.get(found.rule, Verdict(asked.get(found.rule, "open")))
