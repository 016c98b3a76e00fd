"""Charges that share the minimum or cap of their bill are rated again together: what one costs bears on the others."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Final

from cloud.billing.charges.drafts import RatedPiece
from cloud.billing.charges.limits import Cost, Stretch, shares_kept
from cloud.billing.charges.pieces import Piece, Place
from cloud.billing.charges.supplies import with_limits
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.adjustments import ChargeState
from cloud.kit.db import Conn
from cloud.kit.periods import Period

_NO_COST: Final = frozenset({"minimum", "cap", "tax", "discount"})
"""Lines of what comes after the cost of a charge."""

Sharing = Mapping[Stretch, tuple[Stretch, ...]]
"""Which charges share a limit with a charge, itself included, in the order of time."""


async def with_those_that_share(conn: Conn, states: Sequence[ChargeState]) -> list[ChargeState]:
    """The charges with all that share a limit with one of them, and what came after these; by agreement and time."""
    found = {one.charge_id: one for one in states}
    asked: set[Stretch] = set()
    while True:
        there = {stretch_of(one) for one in found.values()}
        missing = set(sharing(list(found.values()))) - there - asked
        if not missing:
            return sorted(found.values(), key=lambda one: (one.agreement.id, one.period))
        asked |= missing
        since: dict[int, date] = {}
        for agreement_id, period in missing:
            since[agreement_id] = min(period.start, since.get(agreement_id, date.max))
        for one in await adjustments_repository.states_of_agreements(conn, since):
            found.setdefault(one.charge_id, one)


def sharing(states: Sequence[ChargeState]) -> Sharing:
    """Who shares limits, by what the bills keep; charges that share none are left out."""
    found: dict[Stretch, tuple[Stretch, ...]] = {}
    for one in states:
        kept = tuple((agreement_id, _period(told)) for agreement_id, told in shares_kept(one.inputs))
        found |= dict.fromkeys(kept, kept)
    return found


def one_after_another(states: Sequence[ChargeState], shared: Sharing) -> list[list[ChargeState]]:
    """The charges of each agreement in the order of time, or of an account where its agreements share limits."""
    accounts = {one.account_id for one in states if len({agreement for agreement, _ in _with(one, shared)}) > 1}
    found: dict[tuple[bool, int], list[ChargeState]] = defaultdict(list)
    for one in states:
        of_account = one.account_id in accounts
        found[of_account, one.account_id if of_account else one.agreement.id].append(one)
    return [sorted(mine, key=lambda one: (one.period, one.agreement.id)) for mine in found.values()]


def limited(cut: Sequence[tuple[ChargeState, Sequence[Piece]]], shared: Sharing) -> list[Piece]:
    """The pieces of charges in the order of time, with the limits that they share: as billed, also where a charge is
    cut for the first time."""
    bills: dict[tuple[Stretch, ...], list[Piece]] = defaultdict(list)
    for state, pieces in cut:
        bills[_with(state, shared)] += pieces
    found = [piece for charges, pieces in bills.items() for piece in with_limits(pieces, charges)]
    return sorted(found, key=lambda piece: (piece.period, piece.agreement.id))


def builds_on(state: ChargeState, shared: Sharing, revised: Sequence[Stretch]) -> bool:
    """Whether a charge before it in its bill came to something else that shares a limit with it."""
    return any(one in revised for one in _with(state, shared))


def costs_kept(
    states: Sequence[ChargeState], shared: Sharing, rated: Mapping[Place, RatedPiece]
) -> dict[Stretch, Cost]:
    """What charges count for the limits that they share which keep their amount though they are rated otherwise today.

    So it is with months that were billed out of order, by rounding: what is left of a cap is what the bill left of it.
    """
    found: dict[Stretch, Cost] = {}
    for one in states:
        mine = stretch_of(one)
        now = rated.get((one.agreement.id, one.period.start))
        if now is None or mine == _with(one, shared)[-1]:
            continue
        stands = _cost((line["kind"], Decimal(line["amount"])) for line in one.lines)
        if stands != _cost((line.kind, line.amount) for line in now.lines):
            found[mine] = stands
    return found


def _cost(lines: Iterable[tuple[str, Decimal]]) -> Cost:
    """By kind and amount of the lines of a charge."""
    found: dict[str, Decimal] = defaultdict(Decimal)
    for kind, amount in lines:
        found[kind if kind in _NO_COST else ""] += amount
    return Cost(found[""], found["minimum"])


def stretch_of(state: ChargeState) -> Stretch:
    """Its agreement and days."""
    return state.agreement.id, state.period


def _with(state: ChargeState, shared: Sharing) -> tuple[Stretch, ...]:
    mine = stretch_of(state)
    return shared.get(mine, (mine,))


def _period(told: str) -> Period:
    start, _, end = told.partition("/")
    return Period(date.fromisoformat(start), date.fromisoformat(end))
