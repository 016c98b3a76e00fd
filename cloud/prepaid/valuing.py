"""Values what is left of balances, in bulk, keeps it for the pages, and warns when it runs low."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from cloud.billing.settlement.standing import Accrued, Standing, accrued, standings
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.periods import local_day
from cloud.prepaid import repository, telling
from cloud.prepaid.positions import Position, Spent, days_left, signal
from cloud.prepaid.records import AccountTerms, Policy, PositionRow


@dataclass(frozen=True, slots=True)
class Valued:
    """What is left of an account's balance, and what speaks for the account."""

    position: PositionRow
    standing: Standing
    protected: bool


async def value(
    conn: Conn, project: Project, policy: Policy, account_ids: Sequence[int], now: datetime
) -> dict[int, Valued]:
    """Values accounts with prepaid agreements by their tariffs, and tells those whose balance has just become low.

    The same few statements for one account and for hundreds. Accounts without prepaid agreements are left out.
    """
    today = local_day(now, project.zone)
    marked = await repository.agreement_ids(conn, account_ids)
    if not marked:
        return {}
    stands = await standings(conn, list(marked))
    before = await repository.positions(conn, list(marked))
    known = {account_id: one.through for account_id, one in before.items()}
    used = await accrued(conn, project, marked, today, known)
    terms = await repository.terms(conn, list(marked))
    found: dict[int, Valued] = {}
    newly_low: list[PositionRow] = []
    for account_id in sorted(marked):
        own = terms.get(account_id, AccountTerms(account_id, project.id))
        row = _row(project, account_id, stands[account_id], used[account_id], policy, own, before.get(account_id), now)
        found[account_id] = Valued(row, stands[account_id], own.protected(today))
        if row.warned_at == now:
            newly_low.append(row)
    await repository.keep_positions(conn, [_kept(one.position) for one in found.values()])
    if newly_low:
        await telling.tell_low(conn, project, newly_low, now)
    return found


def _row(
    project: Project,
    account_id: int,
    standing: Standing,
    used: Accrued,
    policy: Policy,
    terms: AccountTerms,
    before: PositionRow | None,
    now: datetime,
) -> PositionRow:
    available = Position(standing.held, standing.owed, used.amount).available
    days = days_left(available, [Spent(cost.amount, cost.days) for cost in used.costs])
    warned_at = before.warned_at if before is not None else None
    match signal(available, days, policy.thresholds, warned_at is not None):
        case "warn":
            warned_at = now
        case "rearm":
            warned_at = None
        case None:
            pass
    return PositionRow(
        account_id=account_id,
        project_id=project.id,
        currency=project.currency,
        held=standing.held,
        owed=standing.owed,
        accrued=used.amount,
        available=available,
        allowance=policy.rules.credit + terms.emergency(local_day(now, project.zone)),
        days_left=days,
        through=used.through,
        flaw=used.flaw,
        warned_at=warned_at,
        valued_at=now,
    )


def _kept(row: PositionRow) -> dict[str, object]:
    values = asdict(row)
    del values["available"]  # the database adds it up
    return values
