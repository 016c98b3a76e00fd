"""Prepaid supply: settings, which agreements are prepaid, what is left, and cases. Callers own the transaction."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime
from decimal import Decimal, InvalidOperation

import psycopg
import structlog

from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.prepaid import case_repository, cases, repository
from cloud.prepaid.records import (
    AccountTerms,
    Policy,
    PositionRow,
    PrepaidAgreement,
    Shown,
    SupplyCase,
    SupplyStep,
)
from cloud.prepaid.valuing import value

_log = structlog.get_logger(__name__)
_LEAST = Decimal(-(10**15))
"""Below every balance: where a list begins."""


async def get_policy(conn: Conn, project_id: int) -> Policy:
    """What a project wants of prepaid supply; without settings nobody is warned and nobody switched off."""
    await estate.get_project(conn, project_id)
    return await repository.policy(conn, project_id)


async def set_policy(conn: Conn, project_id: int, wanted: Policy, *, may_disconnect: bool) -> Policy:
    """Sets what a project wants; rules about switching off only by who may do that. Raises NotFound, Conflict."""
    before = await get_policy(conn, project_id)
    if wanted.rules != before.rules and not may_disconnect:
        raise Conflict("needs-disconnect", "the rules of switching off are for holders of supply.disconnect")
    await repository.set_policy(conn, project_id, wanted)
    return await get_policy(conn, project_id)


async def mark(conn: Conn, agreement_id: int, now: datetime) -> PrepaidAgreement:
    """The usage of an agreement is paid in advance from now on. Raises NotFound, Conflict unless it has a tariff."""
    agreement = await billing.get_agreement(conn, agreement_id)
    if agreement.kind != "tariff":
        raise Conflict("not-usage", "only agreements with a tariff can be prepaid", field="agreement_id")
    await repository.mark(conn, agreement.project_id, agreement.account_id, agreement_id)
    await refresh(conn, agreement.account_id, now)
    return PrepaidAgreement(
        agreement_id, agreement.project_id, agreement.account_id, agreement.service, agreement.meter_id
    )


async def unmark(conn: Conn, agreement_id: int, now: datetime) -> None:
    """An agreement is billed afterwards again; its supply is given back if it is off. Raises NotFound."""
    agreement = await billing.get_agreement(conn, agreement_id)
    if not await repository.unmark(conn, agreement_id):
        raise NotFound("not-prepaid", "the agreement is not prepaid", field="agreement_id")
    await refresh(conn, agreement.account_id, now)
    if not (await repository.agreement_ids(conn, [agreement.account_id])).get(agreement.account_id):
        await repository.forget_position(conn, agreement.account_id)


async def agreements_of(conn: Conn, account_ids: Sequence[int], today: date) -> dict[int, list[PrepaidAgreement]]:
    """The prepaid agreements of accounts that are in force, by account."""
    return await repository.agreements(conn, account_ids, today)


async def account_terms(conn: Conn, account_id: int) -> AccountTerms:
    """What holds for one account. Raises NotFound."""
    account = await estate.get_account(conn, account_id)
    return (await repository.terms(conn, [account_id])).get(account_id, AccountTerms(account_id, account.project_id))


async def set_account_terms(conn: Conn, wanted: AccountTerms, now: datetime) -> AccountTerms:
    """Sets protection and emergency credit of one account, at once for its open cases.

    Raises NotFound; InvalidInput for protection without a reason or an end, or credit without an end.
    """
    if wanted.kind is not None and (not wanted.reason.strip() or wanted.protected_until is None):
        raise InvalidInput("reason-needed", "protection needs a reason and a last day", field="reason")
    if wanted.credit and wanted.credit_until is None:
        raise InvalidInput("end-needed", "credit needs a last day", field="credit_until")
    account = await estate.get_account(conn, wanted.account_id)
    await repository.set_terms(conn, replace(wanted, project_id=account.project_id, reason=wanted.reason.strip()))
    await refresh(conn, wanted.account_id, now)
    return await account_terms(conn, wanted.account_id)


async def money_came(conn: Conn, account_id: int, now: datetime) -> None:
    """To be called in the transaction of a payment: whoever has paid is not switched off by an order under way, and
    what is off is ordered on before the answer is sent.

    Never refuses the payment: when a case cannot be moved now, its job does so within a minute.
    """
    try:
        async with conn.transaction():
            await refresh(conn, account_id, now)
    except (GatemeterError, psycopg.Error) as error:
        _log.error("prepaid.payment_not_followed", account=account_id, error=str(error).strip())


async def refresh(conn: Conn, account_id: int, now: datetime) -> PositionRow | None:
    """Values an account now and takes its open cases as far as they go; None when nothing of it is prepaid."""
    waiting = [case.id for case in await case_repository.open_of(conn, [account_id])]
    # All of them before anything else is written: whoever moves a case takes it first, too.
    for case_id in waiting:
        await case_repository.locked(conn, case_id)
    for case_id in waiting:
        await cases.advance(conn, case_id, now)
    if not await repository.agreement_ids(conn, [account_id]):
        return None
    account = await estate.get_account(conn, account_id)
    project = await estate.get_project(conn, account.project_id)
    found = await value(conn, project, await repository.policy(conn, project.id), [account_id], now)
    return found[account_id].position if account_id in found else None


async def value_accounts(conn: Conn, project: Project, account_ids: Sequence[int], now: datetime) -> tuple[int, int]:
    """Values accounts of a project and opens cases for those beyond their credit: how many of each."""
    policy = await repository.policy(conn, project.id)
    valued = await value(conn, project, policy, account_ids, now)
    return len(valued), await cases.open_cases(conn, project, policy, valued, now)


async def accounts(conn: Conn, project_id: int, after: int, limit: int) -> list[int]:
    """Accounts of a project with prepaid agreements, by id."""
    return await repository.accounts(conn, project_id, after, limit)


async def position(conn: Conn, account_id: int) -> PositionRow:
    """What was left of an account's balance when it was valued last. Raises NotFound when it is not prepaid."""
    found = (await repository.positions(conn, [account_id])).get(account_id)
    if found is None:
        raise NotFound("not-prepaid", f"account {account_id} has no prepaid agreement", field="account_id")
    return found


async def list_positions(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    account_id: int | None = None,
    shown: Shown = "all",
) -> Page[PositionRow]:
    """Prepaid accounts, those with the least left first."""
    found = await repository.listed(
        conn,
        project_id=project_id,
        account_id=account_id,
        shown=shown,
        after=_after(page),
        limit=page.limit + 1,
    )
    return cut(found, page, lambda one: (str(one.available), one.account_id))


async def list_cases(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    account_id: int | None = None,
    state: str | None = None,
    only_open: bool = False,
) -> Page[SupplyCase]:
    """Cases, newest first."""
    found = await case_repository.cases(
        conn,
        project_id=project_id,
        account_id=account_id,
        state=state,
        only_open=only_open,
        before=after_id(page, MAX_ID),
        limit=page.limit + 1,
    )
    return cut(found, page, lambda one: (one.id,))


async def open_cases_of(conn: Conn, account_ids: Sequence[int]) -> dict[int, list[SupplyCase]]:
    """Open cases by account."""
    found: dict[int, list[SupplyCase]] = {}
    for case in await case_repository.open_of(conn, account_ids):
        found.setdefault(case.account_id, []).append(case)
    return found


async def get_case(conn: Conn, case_id: int) -> SupplyCase:
    """One case. Raises NotFound."""
    found = await case_repository.case(conn, case_id)
    if found is None:
        raise NotFound("no-such-case", f"there is no case {case_id}", field="case_id")
    return found


async def steps_of(conn: Conn, case_id: int) -> list[SupplyStep]:
    """What happened in a case, in order."""
    return await case_repository.steps(conn, case_id)


async def confirm_case(conn: Conn, case_id: int, user_id: int | None, now: datetime) -> SupplyCase:
    """Agrees that a supply is switched off as soon as the rules let it. Raises NotFound, Conflict unless it is due."""
    found = await cases.confirm(conn, case_id, user_id, now)
    if found is None:
        raise Conflict("not-due", "only a case whose notice has run out can be confirmed")
    return found


async def note_delivery(conn: Conn, case_id: int, at: datetime, how: str, now: datetime) -> SupplyCase:
    """The written notice, or once it has run out the second one, was handed over at `at`.

    Raises NotFound; InvalidInput for a time to come or no word of how; Conflict when no notice is wanted now.
    """
    before = await get_case(conn, case_id)
    if not before.opened_at <= at <= now:
        raise InvalidInput("bad-date", "expected a time since the case was opened, not after now", field="at")
    if not how.strip():
        raise InvalidInput("reason-needed", "say how it was handed over, and to whom", field="how")
    found = await cases.delivered(conn, case_id, at, how.strip(), now)
    if found is None:
        raise Conflict("no-notice-wanted", f"the case is {before.state}: no notice is wanted")
    return found


async def end_case(conn: Conn, case_id: int, reason: str, now: datetime) -> SupplyCase:
    """Ends a case by hand: nothing is switched off, and what is off is switched on.

    A supply that no device reports as on is noted as on only after the alarm, once no older order can switch it off:
    somebody went there. Raises NotFound, Conflict.
    """
    if not reason.strip():
        raise InvalidInput("reason-needed", "say why", field="reason")
    before = await get_case(conn, case_id)
    if before.closed_at is not None or (before.state == "reconnecting" and before.alarmed_at is None):
        raise Conflict("already-decided", f"the case is {before.state} already")
    after = await cases.advance(conn, case_id, now, end_by_hand=reason.strip())
    if before.state == after.state == "reconnecting":
        raise Conflict("cut-may-come", "an order to switch off may still be carried out: try again in some minutes")
    return after


async def in_hand(conn: Conn, project_id: int, *, all_open: bool) -> list[int]:
    """Cases in which minutes count, or all open ones."""
    return await (case_repository.open_ids if all_open else case_repository.in_hand)(conn, project_id)


async def advance(conn: Conn, case_id: int, now: datetime) -> SupplyCase:
    """Takes a case as far as it goes now. Raises NotFound."""
    return await cases.advance(conn, case_id, now)


def _after(page: PageRequest) -> tuple[Decimal, int]:
    if page.after is None:
        return _LEAST, 0
    available, after = page.after
    try:
        amount = Decimal(str(available))
    except InvalidOperation as error:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor") from error
    if not amount.is_finite() or not isinstance(after, int) or not 0 <= after <= MAX_ID:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return amount, after
