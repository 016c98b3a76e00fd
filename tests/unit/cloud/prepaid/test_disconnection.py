"""Cases under random histories: nobody is switched off outside the rules, and nobody stays dark who has paid."""

from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.prepaid.disconnection import Case, Decision, Facts, Hold, Order, Rules, decide, ending, order_valid_for
from cloud.prepaid.quiet_times import Hours

ZONE = ZoneInfo("Asia/Shanghai")
MONDAY = datetime(2026, 4, 13, 10, 0, tzinfo=ZONE)
RULES = Rules(disconnects=True, automatic=True, arrears_days=2, notice=timedelta(days=3), hours=Hours(before_rest=True))
DUE = Case("due", date(2026, 4, 1), MONDAY - timedelta(days=7), cuts=0)


def at(minutes: float = 0) -> datetime:
    return MONDAY + timedelta(minutes=minutes)


def order(state: str, given: float, told: float | None = None, lasts: float = 10) -> Order:
    return Order(state, at(given), at(given if told is None else told), at(given + lasts))


def test_by_default_nothing_is_ever_switched_off() -> None:
    assert ending(Facts(below=True), Rules()) == "not-allowed"
    assert decide(DUE, Facts(below=True), Rules(), MONDAY, {}).move == "cancel"


def test_the_whole_way_to_off() -> None:
    case = Case("warned", MONDAY.date())
    assert decide(case, Facts(below=True), RULES, MONDAY, {}).hold == "too-early"
    late = MONDAY + timedelta(days=2)
    assert decide(case, Facts(below=True), RULES, late, {}).move == "tell"
    case = replace(case, state="notified", notified_at=late)
    assert decide(case, Facts(below=True), RULES, late + timedelta(days=3, minutes=-1), {}).hold == "too-early"
    assert decide(case, Facts(below=True), RULES, late + timedelta(days=3), {}).move == "become-due"
    case = replace(case, state="due")
    week_end = datetime(2026, 4, 18, 10, 0, tzinfo=ZONE)
    assert decide(case, Facts(below=True), RULES, week_end, {}).hold == "quiet-time"
    monday = week_end + timedelta(days=2)
    assert decide(case, Facts(below=True), replace(RULES, automatic=False), monday, {}).hold == "not-confirmed"
    assert decide(case, Facts(below=True), RULES, monday, {}).move == "tell-again"
    case = replace(case, second_notice_at=monday)
    assert decide(case, Facts(below=True), RULES, monday + timedelta(minutes=29), {}).hold == "second-notice"
    assert decide(case, Facts(below=True), RULES, monday + timedelta(minutes=30), {}).move == "cut"
    # Two days later nobody expects it any more.
    assert decide(case, Facts(below=True), RULES, monday + timedelta(days=2), {}).move == "tell-again"


@pytest.mark.parametrize("hold", ["protected", "disputed", "in-plan", "unverified", "no-relay"])
def test_what_speaks_against_it_stops_every_step(hold: Hold) -> None:
    facts = Facts(below=True, against=(hold,))
    warned, notified = Case("warned", date(2026, 3, 1)), replace(DUE, state="notified")
    told = replace(DUE, second_notice_at=at(-40))
    for case in (warned, notified, DUE, told):
        assert decide(case, facts, RULES, MONDAY, {}) == decide(warned, facts, RULES, MONDAY, {})
        assert (decide(case, facts, RULES, MONDAY, {}).move, decide(case, facts, RULES, MONDAY, {}).hold) == (
            None,
            hold,
        )
    off = replace(told, state="off", cuts=1)
    given_back = decide(off, replace(facts, cut=order("done", -30)), RULES, MONDAY, {}).move
    assert given_back == ("restore" if hold in ("protected", "disputed", "in-plan") else None)


def test_a_payment_gives_back_whatever_may_be_off() -> None:
    paid = Facts(below=False)
    assert decide(DUE, paid, RULES, MONDAY, {}).move == "cancel"
    for state in ("queued", "delivered", "executing", "done", "failed", "expired", "uncertain"):
        facts = replace(paid, cut=order(state, -1))
        assert decide(replace(DUE, state="ordered", cuts=1), facts, RULES, MONDAY, {}).move == "restore"
        # Even when the order is said to have failed: the home is looked after, not the record.
        assert decide(replace(DUE, cuts=1), facts, RULES, MONDAY, {}).move == "restore"
    assert (
        decide(replace(DUE, state="off", cuts=1), replace(paid, cut=order("done", -9)), RULES, MONDAY, {}).why == "paid"
    )


def test_an_order_that_only_expired_is_waited_for_and_believed_when_it_comes_after_all() -> None:
    case = replace(DUE, state="ordered", cuts=1, second_notice_at=at(-40))
    silent = Facts(below=True, cut=order("expired", -10))
    assert decide(case, silent, RULES, MONDAY, {}).move is None
    assert decide(case, silent, RULES, at(2), {}).move == "note-failed"
    due = replace(case, state="due")
    assert decide(due, replace(silent, cut=order("done", -10, 3)), RULES, at(4), {}).move == "note-off"


def test_a_gateway_that_took_an_order_and_fell_silent_may_have_carried_it_out() -> None:
    case = replace(DUE, state="ordered", cuts=1, second_notice_at=at(-40))
    for state in ("delivered", "executing"):
        taken = Facts(below=True, cut=order(state, -10))
        assert decide(case, taken, RULES, at(14), {}).move is None
        assert decide(case, taken, RULES, at(16), {}).move == "note-off"


def test_an_older_order_that_is_carried_out_later_is_undone() -> None:
    case = replace(DUE, state="reconnecting", cuts=1, restores=1, restoring_since=at(0))
    late = Facts(below=False, cut=order("done", -5, 2), restore=order("done", 0, 1, 60))
    assert decide(case, late, RULES, at(3), {}).move == "restore"
    # As long as it may still come, nobody says that the supply is back for good; then it is read back once more.
    open_ = replace(late, cut=order("expired", -5))
    assert decide(case, open_, RULES, at(3), {}).move is None
    assert decide(case, open_, RULES, at(7), {}).move == "restore"
    again = replace(open_, restore=order("done", 7, 7.1, 60))
    assert decide(case, again, RULES, at(8), {}).move == "note-restored"


def test_a_supply_that_is_not_confirmed_is_tried_again_and_somebody_is_alarmed() -> None:
    case = replace(DUE, state="reconnecting", cuts=1, restores=1, restoring_since=at(0))
    cut = order("done", -60)
    silent = Facts(below=False, cut=cut, restore=order("queued", 0, lasts=60))
    assert decide(case, silent, RULES, at(4), {}).move is None
    assert decide(case, silent, RULES, at(5), {}).move == "alarm"
    failed = replace(silent, restore=order("failed", 0, 1, 60))
    assert decide(case, failed, RULES, at(1), {}).move == "alarm"
    alarmed = replace(case, alarmed=True)
    assert decide(alarmed, failed, RULES, at(0.5), {}).move is None
    assert decide(alarmed, failed, RULES, at(1), {}).move == "restore"
    # The more often it failed the longer it waits, a quarter of an hour at most.
    assert decide(replace(alarmed, restores=50), failed, RULES, at(14.9), {}).move is None
    assert decide(replace(alarmed, restores=50), failed, RULES, at(15), {}).move == "restore"


def test_who_saw_the_supply_on_ends_the_case_once_nothing_can_switch_it_off() -> None:
    case = replace(DUE, state="reconnecting", cuts=1, restores=3, restoring_since=at(0), alarmed=True)
    seen = Facts(below=False, cut=order("done", -60), restore=None, ended_by_hand=True)
    assert decide(case, seen, RULES, at(9), {}) == Decision("note-restored", why="by-hand")
    late = replace(seen, cut=order("delivered", 0))
    assert decide(case, late, RULES, at(9), {}).move != "note-restored"


def test_an_order_ends_with_the_hours_of_the_day() -> None:
    assert order_valid_for(RULES, at()) == timedelta(minutes=10)
    assert order_valid_for(RULES, MONDAY.replace(hour=15, minute=56)) == timedelta(minutes=4)


@dataclass
class Relay:
    """A relay behind a gateway that answers late, wrongly, or not at all; it begins nothing that has expired."""

    on: bool = True
    orders: list[dict[str, object]] = field(default_factory=list)
    """What was ordered, oldest first: `done` once it was carried out, `state` as the cloud knows it."""

    def give(self, wanted: bool, now: datetime, lasts: timedelta) -> dict[str, object]:
        given: dict[str, object] = {"on": wanted, "at": now, "told": now, "expires": now + lasts, "state": "queued"}
        self.orders.append(given)
        return given

    def act(self, now: datetime, what: str) -> None:
        """What the gateway does with the oldest order that it has not looked at; or tells of one that it kept back."""
        # Nothing keeps what was sent in its order: the newest may come first.
        for one in self.orders if what != "do-newest" else reversed(self.orders):
            if one.get("done") and one["state"] in ("queued", "expired") and what == "tell":
                one.update(state="done", told=now)
            fresh = not one.get("done") and not one.get("refused") and now <= one["expires"]  # type: ignore[operator]
            if fresh and what.startswith("do"):
                self.on = bool(one["on"])
                one["done"] = True
                if what != "do-silently":
                    one.update(state="uncertain" if what == "do-and-lose" else "done", told=now)
                return
            if fresh and what == "fail":
                one.update(refused=True, state="failed", told=now)
                return
        for one in self.orders:
            if one["state"] == "queued" and now > one["expires"]:  # type: ignore[operator]
                one.update(state="expired", told=now)


def as_order(one: dict[str, object] | None) -> Order | None:
    return None if one is None else Order(one["state"], one["at"], one["told"], one["expires"])  # type: ignore[arg-type]


class World:
    """One home over some days: its money, its relay, and the case that is moved once in a while."""

    def __init__(self, rules: Rules, case: Case) -> None:
        self.rules, self.now, self.below, self.held_by = rules, MONDAY, True, False
        self.case, self.relay = case, Relay()
        self.cut: dict[str, object] | None = None
        self.restore: dict[str, object] | None = None

    @property
    def facts(self) -> Facts:
        against: tuple[Hold, ...] = ("protected",) if self.held_by else ()
        return Facts(self.below, True, against, as_order(self.cut), as_order(self.restore))

    def look(self) -> None:
        for _ in range(6):
            decision = decide(self.case, self.facts, self.rules, self.now, {})
            if decision.move is None:
                return
            self.take(decision.move)
            if decision.move in ("cut", "restore"):
                return

    def take(self, move: str) -> None:
        now, case = self.now, self.case
        match move:
            case "tell":
                self.case = replace(case, state="notified", notified_at=now)
            case "become-due":
                self.case = replace(case, state="due")
            case "tell-again":
                self.case = replace(case, second_notice_at=now)
            case "cut":
                self.check()
                self.cut = self.relay.give(False, now, order_valid_for(self.rules, now))
                self.case = replace(case, state="ordered", cuts=case.cuts + 1)
            case "restore":
                if self.cut is not None and self.cut["state"] == "queued":
                    self.cut.update(state="expired", told=now)
                self.restore = self.relay.give(True, now, timedelta(hours=1))
                since = case.restoring_since or now
                self.case = replace(case, state="reconnecting", restores=case.restores + 1, restoring_since=since)
            case "alarm":
                self.case = replace(case, alarmed=True)
            case "note-off" | "note-failed" | "note-restored" | "cancel":
                states = {"note-off": "off", "note-failed": "due", "note-restored": "reconnected"}
                self.case = replace(case, state=states.get(move, "cancelled"))  # type: ignore[arg-type]

    def check(self) -> None:
        """Whether a supply may be switched off now, said in other words than the rule's."""
        case, now = self.case, self.now
        assert self.below
        assert not self.held_by
        assert 9 <= now.hour < 16
        assert now.weekday() < 5
        assert case.notified_at is not None
        assert case.second_notice_at is not None
        assert (case.notified_at.date() - case.opened_on).days >= self.rules.arrears_days
        assert now - case.notified_at >= self.rules.notice
        assert self.rules.second_notice <= now - case.second_notice_at <= self.rules.second_notice + timedelta(days=1)
        assert self.rules.automatic
        # One order at a time: the one before failed, or no gateway begins it any more.
        assert self.cut is None or self.cut["state"] == "failed" or now > self.cut["expires"]  # type: ignore[operator]


event = st.one_of(
    st.tuples(st.just("wait"), st.sampled_from([1, 1, 1, 5, 5, 12, 31, 700, 1440])),
    st.tuples(
        st.just("relay"), st.sampled_from(["do", "do-newest", "do-silently", "do-and-lose", "fail", "tell", "nothing"])
    ),
    st.tuples(st.just("money"), st.booleans()),
    st.tuples(st.just("hold"), st.booleans()),
)


NEW = Case("warned", MONDAY.date())
READY = Case("due", date(2026, 4, 1), MONDAY - timedelta(days=7), MONDAY - timedelta(minutes=31))


@settings(max_examples=400, deadline=None)
@given(st.sampled_from([NEW, READY, READY]), st.lists(event, min_size=5, max_size=60))
def test_any_history_ends_lit_once_it_is_paid(case: Case, events: list[tuple[str, int | str]]) -> None:
    world = World(RULES, case)
    world.look()
    for kind, what in events:
        match kind:
            case "wait":
                world.now += timedelta(minutes=int(what))
            case "relay":
                world.relay.act(world.now, str(what))
            case "money":
                world.below = bool(what)
            case _:
                world.held_by = bool(what)
        world.look()
        if world.case.state in ("cancelled", "reconnected"):
            assert world.relay.on
            assert not any(
                not one["on"] and not one.get("done") and not one.get("refused") and world.now <= one["expires"]  # type: ignore[operator]
                for one in world.relay.orders
            ), "an order that can still be carried out would cut a closed case"
            return
    world.below = False
    for _ in range(400):
        world.look()
        if world.case.state in ("cancelled", "reconnected"):
            break
        world.now += timedelta(minutes=1)
        world.relay.act(world.now, "do")
        world.relay.act(world.now, "tell")
    assert world.case.state in ("cancelled", "reconnected")
    assert world.relay.on
