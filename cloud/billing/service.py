"""Agreements, bills, runs, late fees and the ledger, as other features and people use them."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg

from cloud.billing import ledger, repository, run_repository
from cloud.billing.explaining import Explained, explain_bill
from cloud.billing.gauge import tier_gauge
from cloud.billing.ledger import Journal, Posting, book
from cloud.billing.proof import Discrepancy, discrepancies, prove
from cloud.billing.records import (
    Agreement,
    Bill,
    BillFilter,
    BillingTotals,
    BillRow,
    BillRun,
    Policy,
    RunFailure,
    TierGauge,
)
from cloud.billing.runs import (
    CAREFUL,
    RunOptions,
    approve_run,
    cancel_run,
    execute_run,
    get_run,
    issue_run,
    leave_out,
    start_run,
)
from cloud.billing.settlement import Receipt, Settlement, refresh_late_fees, settle
from cloud.estate import service as estate
from cloud.kit.constraints import meaning_of
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import Period, local_day
from cloud.tariffs import service as tariffs

__all__ = [
    "CAREFUL",
    "Agreement",
    "Bill",
    "BillFilter",
    "BillRow",
    "BillRun",
    "BillingTotals",
    "Discrepancy",
    "Explained",
    "Journal",
    "NewAgreement",
    "Policy",
    "Posting",
    "Receipt",
    "RunFailure",
    "RunOptions",
    "Settlement",
    "TierGauge",
    "approve_run",
    "book",
    "cancel_run",
    "create_agreement",
    "create_agreements",
    "discrepancies",
    "execute_run",
    "explain",
    "get_bill",
    "get_run",
    "issue_run",
    "leave_out",
    "list_agreements",
    "list_bills",
    "list_runs",
    "month_totals",
    "policy_on",
    "prepaid_balance",
    "prove",
    "refresh_late_fees",
    "run_failures",
    "run_of_job",
    "set_policy",
    "settle",
    "start_run",
    "tier_gauge",
]


@dataclass(frozen=True, slots=True)
class NewAgreement:
    """What `create_agreements` wants to know of each; `unit_id` defaults to the unit of the account."""

    account_id: int
    service: str
    tariff_id: int
    valid_from: date
    meter_id: int | None = None
    unit_id: int | None = None
    valid_until: date | None = None
    capacity_va: int | None = None
    area: Decimal | None = None
    single: bool = False


async def create_agreement(
    conn: Conn,
    project_id: int,
    account_id: int,
    service: str,
    tariff_id: int,
    meter_id: int | None,
    unit_id: int | None,
    valid_from: date,
    valid_until: date | None = None,
    *,
    capacity_va: int | None = None,
    area: Decimal | None = None,
    single: bool = False,
) -> Agreement:
    """What an account is charged for from a day on. Raises like `create_agreements`."""
    basis = (capacity_va, area, single)
    new = NewAgreement(account_id, service, tariff_id, valid_from, meter_id, unit_id, valid_until, *basis)
    return (await create_agreements(conn, project_id, [new]))[0]


async def create_agreements(conn: Conn, project_id: int, new: Sequence[NewAgreement]) -> list[Agreement]:
    """Many agreements of one project in one statement.

    Raises InvalidInput for dates in the wrong order, NotFound for an unknown account, tariff, meter or unit, Conflict
    when somebody pays for the same service of the meter already.
    """
    if any(one.valid_until is not None and one.valid_until <= one.valid_from for one in new):
        raise InvalidInput("bad-dates", "expected a day after valid_from", field="valid_until")
    try:
        async with conn.transaction():
            return await repository.insert_agreements(conn, [{"project_id": project_id, **asdict(one)} for one in new])
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error


async def list_agreements(
    conn: Conn, page: PageRequest, *, project_id: int | None = None, account_id: int | None = None
) -> Page[Agreement]:
    """Agreements by id."""
    found = await repository.agreements(
        conn, project_id=project_id, account_id=account_id, after=after_id(page), limit=page.limit + 1
    )
    return cut(found, page, lambda agreement: (agreement.id,))


async def list_bills(conn: Conn, page: PageRequest, filters: BillFilter | None = None) -> Page[BillRow]:
    """Bills, newest first."""
    found = await repository.bills(conn, filters or BillFilter(), before=after_id(page, MAX_ID), limit=page.limit + 1)
    return cut(found, page, lambda bill: (bill.id,))


async def get_bill(conn: Conn, bill_id: int) -> Bill:
    """One bill with charges, lines, late fee and inputs. Raises NotFound."""
    summary = await repository.bill(conn, bill_id)
    if summary is None:
        raise NotFound("no-such-bill", f"there is no bill {bill_id}", field="bill_id")
    charges = await repository.charges(conn, bill_id)
    late_fee = await repository.late_fee(conn, bill_id)
    engine_version, inputs = await repository.bill_inputs(conn, bill_id)
    return Bill(summary, charges, late_fee, engine_version, inputs)


async def explain(conn: Conn, bill: Bill) -> tuple[Explained, ...]:
    """What the charges of a bill follow from, in their order."""
    versions = await tariffs.versions_by_id(conn, sorted({charge.tariff_version_id for charge in bill.charges}))
    return explain_bill(bill, versions)


async def run_of_job(conn: Conn, job_id: int) -> BillRun:
    """The run that a job of `start_run` does. Raises NotFound."""
    found = await run_repository.run_of_job(conn, job_id)
    if found is None:
        raise NotFound("no-such-run", f"job {job_id} does no bill run")
    return found


async def list_runs(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[BillRun]:
    """Runs, newest first."""
    found = await run_repository.runs(conn, project_id, before=after_id(page, MAX_ID), limit=page.limit + 1)
    return cut(found, page, lambda run: (run.id,))


async def run_failures(conn: Conn, run_id: int) -> list[RunFailure]:
    """Accounts a run could not bill, and why."""
    return await run_repository.failures(conn, run_id)


async def set_policy(conn: Conn, project_id: int, valid_from: date, policy: Policy) -> None:
    """Terms of payment from a day on; bills issued before keep theirs.

    Raises Conflict when terms begin on or after that day.
    """
    try:
        async with conn.transaction():
            await repository.insert_policy(conn, project_id, valid_from, policy)
    except psycopg.IntegrityError as error:
        meaning = meaning_of(error)
        if meaning is None:
            raise
        raise meaning from error


async def policy_on(conn: Conn, project_id: int, day: date) -> Policy:
    """The terms of payment in force: due after 15 days without late fee where a project has set none."""
    return await repository.policy_on(conn, project_id, day)


async def month_totals(conn: Conn, project_id: int, period: Period, *, now: datetime | None = None) -> BillingTotals:
    """Billed for `period`, collected in it, and what is open and overdue now."""
    project = await estate.get_project(conn, project_id)
    today = local_day(now or datetime.now(UTC), project.zone)
    sums = await repository.totals(conn, project_id, period, today)
    return BillingTotals(**sums, currency=project.currency)


async def prepaid_balance(conn: Conn, account_id: int) -> Decimal:
    """What an account has paid beyond its bills."""
    return -await ledger.balance(conn, account_id, ledger.PREPAID)
