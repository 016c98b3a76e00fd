"""What stays cost now: all that decides it is asked for many of them at once, each is then priced for itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Final

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.parking.charging import repository
from cloud.parking.charging.circumstances import circumstances
from cloud.parking.charging.debts import owing
from cloud.parking.charging.policy import money_policy
from cloud.parking.fees.circumstances import Circumstances
from cloud.parking.fees.pricing import Assessment, FeeStep
from cloud.parking.fees.versions import Pricing, pricing
from cloud.parking.records import Debt, Quote, RuleVersion, Session, SessionPayment
from cloud.parking.stays import reading_repository

_NOTHING: Final = Decimal("0.00")


@dataclass(frozen=True, slots=True)
class Prices:
    """What prices some stays of one project: rules, payments by stay, circumstances by stay."""

    rates: Pricing
    paid: Mapping[int, Sequence[SessionPayment]]
    given: Mapping[int, Circumstances]


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
    return Prices(rates, paid, await circumstances(conn, project_id, priced) if priced else {})


async def facts_of(conn: Conn, project_id: int, sessions: Sequence[Session]) -> Facts:
    """What quotes for these stays of a project say."""
    prices = await prices_of(conn, project_id, sessions)
    waived = await repository.waived(conn, [session.id for session in sessions])
    debts = await owing(conn, project_id, sorted({session.plate for session in sessions} - {""}))
    return Facts(prices, waived, debts, (await money_policy(conn, project_id)).debts == "collect")


def quoted(facts: Facts, session: Session, now: datetime, waits_since: datetime | None) -> Quote:
    """The quote for a stay. A vehicle that waits at an exit pays until it came there. Raises Conflict: nobody knows."""
    fixed = fixed_fee(session)
    version: RuleVersion | None = None
    leave_by: datetime | None = None
    steps: tuple[FeeStep, ...] = ()
    if fixed is not None:
        until = session.left_at or now
        fee, paid, due, surplus = fixed_price(facts.prices, session, fixed)
        currency = session.currency
    else:
        if session.entered_at is None or session.state == "unmatched":
            raise Conflict("unmatched", "entry or exit of this stay was not seen: nobody knows how long it was")
        until = session.left_at or waits_since or max(now, session.entered_at)
        found = assessed(facts.prices, session, until)
        if found is None:
            raise Conflict("no-rule", f"lot {session.lot_name} has no fee rule that prices a stay from that day on")
        version, result = found
        fee, paid, due, surplus = result.fee.amount, result.paid, result.due, result.surplus
        currency, leave_by, steps = result.fee.currency, result.leave_by, result.fee.steps
    waived = facts.waived.get(session.id, Decimal(0))
    debts = facts.debts.get(session.plate, ()) if session.plate else ()
    return Quote(
        session_id=session.id,
        until=until,
        fee=fee,
        paid=paid,
        due=max(due - waived, due * 0),
        surplus=surplus,
        currency=currency,
        steps=steps,
        leave_by=leave_by,
        rule_version_id=None if version is None else version.id,
        waived=waived,
        debts=tuple(debt for debt in debts if debt.session_id != session.id and debt.currency == session.currency),
        collected=facts.collected,
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
    return session.fixed_fee if session.state == "open" or session.fee is not None else None


def fixed_price(prices: Prices, session: Session, fee: Decimal) -> tuple[Decimal, Decimal, Decimal, Decimal]:
    """Fee, paid, due and surplus of a stay whose entry nobody saw, at the price that the lot's policy has for it."""
    paid = sum((payment.amount for payment in prices.paid.get(session.id, [])), _NOTHING)
    return fee, paid, max(fee - paid, _NOTHING), max(paid - fee, _NOTHING)


def _is_whole(session: Session) -> bool:
    return session.entered_at is not None and session.state != "unmatched"
