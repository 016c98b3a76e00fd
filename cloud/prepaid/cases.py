"""Cases of switching supplies off and on: opened, taken one step further, ended. Every step in one transaction.

Whoever moves a case holds its row: a payment that comes while an order is being given waits, sees the order, and takes
it back; an order that is being given while a payment is written waits, sees the payment, and is not given.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog

from cloud.estate import service as estate
from cloud.estate.calendar import calendar
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.kit.periods import Period, local_day
from cloud.prepaid import case_repository, doubts, repository, switching, telling
from cloud.prepaid.disconnection import OPEN, Decision, Facts, Move, Rules, decide, order_valid_for
from cloud.prepaid.records import Policy, SupplyCase
from cloud.prepaid.valuing import Valued, value

_MOST_STEPS: Final = 6
"""Of one look at a case; an order ends the steps, since a gateway has to answer it."""
_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Look:
    """A case and all that its next step follows from."""

    case: SupplyCase
    project: Project
    rules: Rules
    valued: Valued | None
    facts: Facts
    now: datetime


async def open_cases(conn: Conn, project: Project, policy: Policy, valued: Mapping[int, Valued], now: datetime) -> int:
    """Opens cases for accounts beyond their credit, one for each of their metered agreements; how many."""
    low = [account_id for account_id, one in valued.items() if one.position.below]
    if not policy.rules.disconnects or not low:
        return 0
    today, opened = local_day(now, project.zone), 0
    for account_id, agreements in (await repository.agreements(conn, low, today)).items():
        available = valued[account_id].position.available
        for one in agreements:
            if one.meter_id is None:
                continue
            made = await case_repository.insert(conn, project.id, account_id, one.agreement_id, today, now, available)
            if made is not None:
                opened += 1
                await case_repository.note(conn, await _get(conn, made), now, "opened", detail=str(available))
    return opened


async def advance(conn: Conn, case_id: int, now: datetime, *, end_by_hand: str = "") -> SupplyCase:
    """Takes a case as far as it goes now; `end_by_hand`: the reason of staff to end it. Raises NotFound.

    What is left of the balance is valued again for it: nobody is switched off by what was known an hour ago.
    """
    locked = await case_repository.locked(conn, case_id)
    if locked is None:
        raise _unknown(case_id)
    project = await estate.get_project(conn, locked.project_id)
    policy = await repository.policy(conn, project.id)
    local = now.astimezone(project.zone)
    days = await calendar(conn, project.id, Period(local.date(), local.date() + timedelta(days=2)))
    case, valued = locked, None
    if case.state != "reconnecting":
        valued = (await value(conn, project, policy, [case.account_id], now)).get(case.account_id)
    for _ in range(_MOST_STEPS):
        if case.state not in OPEN:
            break
        facts = await _facts(conn, project, case, valued, now, by_hand=bool(end_by_hand))
        look = _Look(case, project, policy.rules, valued, facts, now)
        decision = decide(case.ruled, facts, policy.rules, local, days)
        if not await _take(conn, look, decision, end_by_hand):
            await _keep_hold(conn, case, decision.hold or "", now)
            break
        case = await _get(conn, case_id)
    return await _get(conn, case_id)


async def confirm(conn: Conn, case_id: int, user_id: int | None, now: datetime) -> SupplyCase | None:
    """A person agrees that the supply is switched off as soon as the rules let it; None unless the case is due."""
    case = await case_repository.locked(conn, case_id)
    if case is None:
        raise _unknown(case_id)
    if case.state != "due":
        return None
    await case_repository.change(conn, case_id, {"confirmed_at": now, "confirmed_by": user_id, "changed_at": now})
    await case_repository.note(conn, case, now, "confirmed")
    return await advance(conn, case_id, now)


async def delivered(conn: Conn, case_id: int, at: datetime, how: str, now: datetime) -> SupplyCase | None:
    """Staff handed over the written notice (or, once due, gave the second one); None when none is wanted."""
    case = await case_repository.locked(conn, case_id)
    if case is None:
        raise _unknown(case_id)
    if case.state == "warned":
        await case_repository.change(conn, case_id, {"state": "notified", "notified_at": at, "changed_at": now})
        await case_repository.note(conn, case, now, "notice", "by-hand", how)
    elif case.state == "due":
        await case_repository.change(conn, case_id, {"second_notice_at": at, "changed_at": now})
        await case_repository.note(conn, case, now, "second-notice", "by-hand", how)
    else:
        return None
    return await advance(conn, case_id, now)


async def _facts(
    conn: Conn, project: Project, case: SupplyCase, valued: Valued | None, now: datetime, *, by_hand: bool
) -> Facts:
    cut, restore = await switching.order(conn, case.cut_id), await switching.order(conn, case.restore_id)
    if case.state == "reconnecting":
        return Facts(below=False, cut=cut, restore=restore, ended_by_hand=by_hand)
    running = await repository.agreements(conn, [case.account_id], local_day(now, project.zone))
    mine = next((one for one in running.get(case.account_id, ()) if one.agreement_id == case.agreement_id), None)
    if valued is None or mine is None:
        return Facts(below=True, prepaid=False, cut=cut, restore=restore, ended_by_hand=by_hand)
    return Facts(
        below=valued.position.below,
        against=await doubts.against(conn, project, mine, valued, now) if valued.position.below else (),
        cut=cut,
        restore=restore,
        ended_by_hand=by_hand,
    )


async def _take(conn: Conn, look: _Look, decision: Decision, by_hand: str) -> bool:
    """Makes the step; False when there is none, it cannot be made now, or a gateway has to answer first."""
    match decision.move:
        case None:
            return False
        case "tell":
            return await _tell(conn, look, "notice")
        case "tell-again":
            return await _tell(conn, look, "second-notice")
        case "cut":
            return await _order_off(conn, look)
        case "restore":
            return await _order_on(conn, look, decision.why or look.case.ending, by_hand)
        case move:
            await _note(conn, look, move, decision.why or "", by_hand)
    return True


async def _note(conn: Conn, look: _Look, move: Move, why: str, by_hand: str) -> None:
    """Steps that only say what is the case now."""
    case, now = look.case, look.now
    outcome = look.facts.cut.state if look.facts.cut is not None else ""
    match move:
        case "cancel":
            changes = {"state": "cancelled", "ending": why, "closed_at": now}
            await _change(conn, look, changes, "cancelled", why, by_hand)
        case "become-due":
            await _change(conn, look, {"state": "due"}, "due")
        case "note-off":
            await _change(conn, look, {"state": "off", "off_at": now}, "off", outcome)
            await telling.tell_off(conn, look.project, case)
        case "note-failed":
            await _change(conn, look, {"state": "due"}, "cut-failed", outcome)
        case "note-restored":
            changes = {"state": "reconnected", "closed_at": now}
            await _change(conn, look, changes, "reconnected", why or case.ending, by_hand)
            await telling.tell_back(conn, look.project, case)
        case _:
            await _alarm(conn, look, "not-confirmed")


async def _tell(conn: Conn, look: _Look, step: telling.Announcement) -> bool:
    """Announces the cut; the step is made once the announcement has gone out."""
    assert look.valued is not None
    at = await telling.announce(conn, look.project, look.case, look.valued.position, look.rules, step, look.now)
    if at is None:
        return False
    changes = {"state": "notified", "notified_at": at} if step == "notice" else {"second_notice_at": at}
    await _change(conn, look, changes, step)
    return True


async def _order_off(conn: Conn, look: _Look) -> bool:
    relay = await switching.relay_of(conn, look.case.meter_id, look.now)
    if relay is None:
        return False
    valid_for = order_valid_for(look.rules, look.now.astimezone(look.project.zone))
    cut_id = await switching.order_off(conn, look.case, relay, valid_for)
    changes = {"state": "ordered", "cut_id": cut_id, "cuts": look.case.cuts + 1}
    await _change(conn, look, changes, "ordered", command_id=cut_id)
    return False


async def _order_on(conn: Conn, look: _Look, why: str, by_hand: str) -> bool:
    case, now = look.case, look.now
    restore_id = await switching.order_on(conn, case)
    since = case.restoring_since or now
    changes: dict[str, Any] = {"state": "reconnecting", "ending": why, "restoring_since": since}
    if restore_id is None:
        await case_repository.change(conn, case.id, {**changes, "hold": "", "changed_at": now})
        await _alarm(conn, look, "no-order")
        return False
    changes |= {"restore_id": restore_id, "restores": case.restores + 1}
    await _change(conn, look, changes, "restore-ordered", why, by_hand, command_id=restore_id)
    return False


async def _alarm(conn: Conn, look: _Look, why: str) -> None:
    """Somebody has to go there: said in the case, in the log, on the page, and by the metric of the job."""
    _log.error("prepaid.supply_not_restored", case=look.case.id, account=look.case.account_id, why=why)
    if look.case.alarmed_at is None:
        await _change(conn, look, {"alarmed_at": look.now}, "alarm", why)


async def _change(
    conn: Conn,
    look: _Look,
    changes: Mapping[str, Any],
    step: str,
    reason: str = "",
    detail: str = "",
    command_id: Any = None,
) -> None:
    await case_repository.change(conn, look.case.id, {**changes, "hold": "", "changed_at": look.now})
    await case_repository.note(conn, look.case, look.now, step, reason, detail, command_id)


async def _keep_hold(conn: Conn, case: SupplyCase, hold: str, now: datetime) -> None:
    """Why it waits, where that is another reason than before."""
    current = await _get(conn, case.id)
    if current.state == case.state and current.hold != hold:
        await case_repository.change(conn, case.id, {"hold": hold, "changed_at": now})


async def _get(conn: Conn, case_id: int) -> SupplyCase:
    found = await case_repository.case(conn, case_id)
    if found is None:
        raise _unknown(case_id)
    return found


def _unknown(case_id: int) -> NotFound:
    return NotFound("no-such-case", f"there is no case {case_id}", field="case_id")
