"""What stays cost now: all that decides it is asked for many of them at once, each is then priced for itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Final

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.parking.charging import repository
from cloud.parking.charging.circumstances import circumstances
from cloud.parking.charging.covering import covering_unseen
from cloud.parking.charging.debts import owing
from cloud.parking.charging.policy import money_policy
from cloud.parking.fees.circumstances import Circumstances
from cloud.parking.fees.pricing import Assessment, FeeStep
from cloud.parking.fees.steps import covered_step, step_of_json
from cloud.parking.fees.versions import Pricing, pricing
from cloud.parking.records import Cover, Debt, Quote, RuleVersion, Session, SessionPayment
from cloud.parking.stays import reading_repository

_NOTHING: Final = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Prices:
    """What prices some stays of one project: rules, payments by stay, circumstances by stay."""

    rates: Pricing
    paid: Mapping[int, Sequence[SessionPayment]]
    given: Mapping[int, Circumstances]
    unseen: Mapping[int, Cover]
    """What covers those inside whose entries nobody saw."""


@dataclass(frozen=True, slots=True)
class Facts:
    """All that a quote says of some stays of one project. Waivers by stay, debts by plate."""

    prices: Prices
    waived: Mapping[int, Decimal]
    debts: Mapping[str, Sequence[Debt]]
    collected: bool


async def prices_of(conn: Conn, project_id: int, sessions: Sequence[Session]) -> Prices:
    """What prices these stays of a project."""
    rates = await pricing(conn, project_id, sorted({session.lot_id for session in sessions}))
    paid = await reading_repository.payments(conn, [session.id for session in sessions])
    priced = [session for session in sessions if _is_whole(session)]
    given = await circumstances(conn, project_id, rates.zone, priced) if priced else {}
    fixed = [session for session in sessions if session.state == "open" and session.fixed_fee is not None]
    unseen = await covering_unseen(conn, project_id, fixed) if fixed else {}
    return Prices(rates, paid, given, unseen)


async def facts_of(conn: Conn, project_id: int, sessions: Sequence[Session]) -> Facts:
    """What quotes for these stays of a project say."""
    prices = await prices_of(conn, project_id, sessions)
    waived = await repository.waived(conn, [session.id for session in sessions])
    debts = await owing(conn, project_id, sorted({session.plate for session in sessions} - {""}))
    return Facts(prices, waived, debts, (await money_policy(conn, project_id)).debts == "collect")


async def after_payment(conn: Conn, facts: Facts, project_id: int, sessions: Sequence[Session]) -> Facts:
    """The facts of the same stays after money came, in the same transaction: it changes what is paid and what is owed.

    The rest took most of the time that a vehicle with an open window waited for its barrier.
    """
    paid = await reading_repository.payments(conn, [session.id for session in sessions])
    debts = await owing(conn, project_id, sorted({session.plate for session in sessions} - {""}))
    return replace(facts, prices=replace(facts.prices, paid=paid), debts=debts)


def quoted(facts: Facts, session: Session, now: datetime, waits_since: datetime | None) -> Quote:
    """The quote for a stay. A vehicle that waits at an exit pays until it came there. Raises Conflict: nobody knows."""
    fixed = fixed_fee(session)
    if fixed is not None:
        price = fixed_price(facts.prices, session, fixed, session.left_at or now)
    else:
        price = _price_by_rule(facts.prices, session, now, waits_since)
    waived = facts.waived.get(session.id, Decimal(0))
    debts = facts.debts.get(session.plate, ()) if session.plate else ()
    return replace(
        price,
        due=max(price.due - waived, price.due * 0),
        waived=waived,
        debts=tuple(debt for debt in debts if debt.session_id != session.id and debt.currency == session.currency),
        collected=facts.collected,
    )


def _price_by_rule(prices: Prices, session: Session, now: datetime, waits_since: datetime | None) -> Quote:
    """The quote before waivers and debts. Raises Conflict when nobody can price the stay."""
    if session.entered_at is None or session.state == "unmatched":
        raise Conflict("unmatched", "entry or exit of this stay was not seen: nobody knows how long it was")
    if session.left_at is not None and session.fee is not None:
        return _told(session, session.fee, session.left_at, session.paid, _stored_steps(session))
    until = session.left_at or waits_since or max(now, session.entered_at)
    found = assessed(prices, session, until)
    if found is None:
        raise Conflict("no-rule", f"lot {session.lot_name} has no fee rule that prices a stay from that day on")
    version, result = found
    return Quote(
        session_id=session.id,
        until=until,
        fee=result.fee.amount,
        paid=result.paid,
        due=result.due,
        surplus=result.surplus,
        currency=result.fee.currency,
        steps=result.fee.steps,
        leave_by=result.leave_by,
        rule_version_id=version.id,
    )


def assessed(
    prices: Prices, session: Session, until: datetime, beside: Sequence[SessionPayment] = ()
) -> tuple[RuleVersion, Assessment] | None:
    """What the stay costs when it ends at `until`, after what was paid and what is `beside` it; None: nobody knows."""
    if session.entered_at is None or session.state == "unmatched":
        return None
    version = prices.rates.rule_for(session.lot_id, session.entered_at)
    if version is None:
        return None
    paid = [*prices.paid.get(session.id, []), *beside]
    given = prices.given[session.id]
    result = prices.rates.assess(version, session.entered_at, until, session.vehicle_class, paid, given)
    return None if result is None else (version, result)


def fixed_fee(session: Session) -> Decimal | None:
    """What the stay costs whatever its length, by the policy of the lot; None: its rule prices it, or nobody can."""
    if session.state == "open":
        return session.fixed_fee
    return session.fee if session.fixed_fee is not None else None


def fixed_price(prices: Prices, session: Session, fee: Decimal, until: datetime) -> Quote:
    """The quote of a stay whose entry nobody saw, at the price that the lot's policy has for it, before waivers."""
    paid = sum((payment.amount for payment in prices.paid.get(session.id, [])), _NOTHING)
    if session.state != "open":
        return _told(session, fee, until, paid, _stored_steps(session))
    cover = prices.unseen.get(session.id)
    if cover is None:
        return _told(session, fee, until, paid)
    return _told(session, _NOTHING, until, paid, (covered_step(until, cover.name),))


def _told(session: Session, fee: Decimal, until: datetime, paid: Decimal, steps: tuple[FeeStep, ...] = ()) -> Quote:
    """The quote of a stay whose price is known."""
    return Quote(
        session_id=session.id,
        until=until,
        fee=fee,
        paid=paid,
        due=max(fee - paid, _NOTHING),
        surplus=max(paid - fee, _NOTHING),
        currency=session.currency,
        steps=steps,
        leave_by=None,
        rule_version_id=session.rule_version_id if steps else None,
    )


def _stored_steps(session: Session) -> tuple[FeeStep, ...]:
    return tuple(step_of_json(step) for step in session.fee_steps)


def _is_whole(session: Session) -> bool:
    return session.entered_at is not None and session.state != "unmatched"
