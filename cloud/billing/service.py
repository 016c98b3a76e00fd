"""Agreements, bills, runs, late fees and the ledger, as other features and people use them."""

from datetime import UTC, datetime
from decimal import Decimal

from cloud.billing import repository
from cloud.billing.agreements.area_repository import BilledArea
from cloud.billing.agreements.changes import (
    change_rent,
    change_tax,
    end_agreement,
    file_area,
    list_areas,
    take_back,
)
from cloud.billing.agreements.rents import RentStep
from cloud.billing.agreements.service import (
    NewAgreement,
    NewRent,
    Rise,
    Tax,
    create_agreement,
    create_agreements,
    create_one_off,
    create_rent,
    get_agreement,
    list_agreements,
    rents_of,
    taxes_of,
    withdraw_agreement,
)
from cloud.billing.agreements.taxes import TaxStep
from cloud.billing.arrears.accrual import refresh_late_fees
from cloud.billing.arrears.disputes import (
    dispute_credited,
    get_dispute,
    list_disputes,
    open_dispute,
    reject_dispute,
    uphold_dispute,
    withdraw_dispute,
)
from cloud.billing.arrears.plans import (
    Monthly,
    approve_plan,
    ask_plan,
    cancel_plan,
    end_broken_plans,
    get_plan,
    list_plans,
    reinstate_plan,
    reject_plan,
)
from cloud.billing.arrears.rules import Dispute, Plan, Waiver, must_be_another, must_wait, stated, takes_another
from cloud.billing.arrears.waivers import approve_waiver, ask_waiver, get_waiver, list_waivers, reject_waiver
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.asked_before import rerate_asked_before
from cloud.billing.corrections.crediting import Given, GivenPart, preview_note
from cloud.billing.corrections.crediting import given as _given
from cloud.billing.corrections.history import (
    ChargingBill,
    History,
    adjustment_history,
    changed_readings,
    charging_bills,
    open_adjustments,
)
from cloud.billing.corrections.late_filings import rerate_filed
from cloud.billing.corrections.late_usage import (
    Outcome,
    ReRating,
    WantedReRating,
    ask_to_rerate,
    re_rating,
    rerate_account,
    rerate_late,
)
from cloud.billing.corrections.notes import (
    Creditable,
    NoteKind,
    Part,
    approve_note,
    cancel_note,
    creditable,
    note_of_adjustments,
    note_of_bill,
    waiting_notes,
)
from cloud.billing.corrections.refusals import Refusal, list_refusals
from cloud.billing.corrections.repository import Adjustment, AdjustmentFilter, AdjustmentState
from cloud.billing.estimates.services import EstimatedService, estimated_services
from cloud.billing.explanation.explaining import Explained, explain_bill
from cloud.billing.explanation.explaining_agreed import explain_agreed
from cloud.billing.explanation.gauge import tier_gauge
from cloud.billing.ledger.balances import Entry, statement
from cloud.billing.ledger.journals import Journal, Posting, book
from cloud.billing.ledger.proof import Discrepancy, discrepancies, prove
from cloud.billing.records import (
    Agreement,
    Bill,
    BillFilter,
    BillingTotals,
    BillRow,
    BillRun,
    Policy,
    PolicyVersion,
    RunFailure,
    TierGauge,
)
from cloud.billing.runs import failure_repository
from cloud.billing.runs import repository as run_repository
from cloud.billing.runs.final_bills import Ending, Leaving, look_ahead, start_final_bill
from cloud.billing.runs.service import (
    CAREFUL,
    RunOptions,
    approve_run,
    cancel_run,
    check_run,
    execute_run,
    get_run,
    issue_run,
    leave_out,
    repeat_run,
    start_run,
)
from cloud.billing.settlement.held import (
    LEDGER_ACCOUNTS,
    Held,
    SetOff,
    apply_balance,
    auto_deduct,
    deduct,
    held,
    lock_held,
    set_auto_deduct,
    set_off_deposit,
)
from cloud.billing.settlement.settling import Receipt, Settlement, settle
from cloud.billing.terms.service import announce_policy, policy_on, policy_versions, set_policy, terms_today
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.kit.periods import Period, local_day
from cloud.tariffs import service as tariffs

__all__ = [
    "CAREFUL",
    "LEDGER_ACCOUNTS",
    "Adjustment",
    "AdjustmentFilter",
    "AdjustmentState",
    "Agreement",
    "Bill",
    "BillFilter",
    "BillRow",
    "BillRun",
    "BilledArea",
    "BillingTotals",
    "ChargingBill",
    "Creditable",
    "Discrepancy",
    "Dispute",
    "Ending",
    "Entry",
    "EstimatedService",
    "Explained",
    "Given",
    "GivenPart",
    "Held",
    "History",
    "Journal",
    "Leaving",
    "Monthly",
    "NewAgreement",
    "NewRent",
    "NoteKind",
    "Outcome",
    "Part",
    "Plan",
    "Policy",
    "PolicyVersion",
    "Posting",
    "ReRating",
    "Receipt",
    "Refusal",
    "RentStep",
    "Rise",
    "RunFailure",
    "RunOptions",
    "SetOff",
    "Settlement",
    "Tax",
    "TaxStep",
    "TierGauge",
    "Waiver",
    "WantedReRating",
    "adjustment_history",
    "announce_policy",
    "apply_balance",
    "approve_note",
    "approve_plan",
    "approve_run",
    "approve_waiver",
    "ask_plan",
    "ask_to_rerate",
    "ask_waiver",
    "auto_deduct",
    "book",
    "cancel_note",
    "cancel_plan",
    "cancel_run",
    "change_rent",
    "change_tax",
    "changed_readings",
    "charging_bills",
    "check_run",
    "create_agreement",
    "create_agreements",
    "create_one_off",
    "create_rent",
    "creditable",
    "deduct",
    "discrepancies",
    "dispute_credited",
    "end_agreement",
    "end_broken_plans",
    "estimated_services",
    "execute_run",
    "explain",
    "explain_agreed",
    "failure_counts",
    "file_area",
    "get_agreement",
    "get_bill",
    "get_dispute",
    "get_plan",
    "get_run",
    "get_waiver",
    "held",
    "issue_run",
    "leave_out",
    "list_adjustments",
    "list_agreements",
    "list_areas",
    "list_bills",
    "list_disputes",
    "list_plans",
    "list_refusals",
    "list_runs",
    "list_waivers",
    "lock_held",
    "look_ahead",
    "month_totals",
    "must_be_another",
    "must_wait",
    "note_of_adjustments",
    "note_of_bill",
    "open_adjustments",
    "open_dispute",
    "policy_on",
    "policy_versions",
    "prepaid_balance",
    "preview_note",
    "prove",
    "re_rating",
    "refresh_late_fees",
    "reinstate_plan",
    "reject_dispute",
    "reject_plan",
    "reject_waiver",
    "rents_of",
    "repeat_run",
    "rerate_account",
    "rerate_asked_before",
    "rerate_filed",
    "rerate_late",
    "run_failures",
    "run_of_job",
    "set_auto_deduct",
    "set_off_deposit",
    "set_policy",
    "settle",
    "start_final_bill",
    "start_run",
    "stated",
    "statement",
    "take_back",
    "takes_another",
    "taxes_of",
    "terms_today",
    "tier_gauge",
    "uphold_dispute",
    "waiting_notes",
    "withdraw_agreement",
    "withdraw_dispute",
]


EVERY_ADJUSTMENT = AdjustmentFilter()


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
    corrections = tuple(line for line in await repository.lines(conn, bill_id) if line.kind == "adjustment")
    return Bill(summary, charges, late_fee, engine_version, inputs, corrections)


async def list_adjustments(
    conn: Conn, page: PageRequest, wanted: AdjustmentFilter = EVERY_ADJUSTMENT
) -> Page[Adjustment]:
    """What late data made of charges, newest first."""
    found = await adjustments_repository.adjustments(conn, wanted, before=after_id(page, MAX_ID), limit=page.limit + 1)
    return cut(found, page, lambda one: (one.id,))


async def given(conn: Conn, bill: Bill) -> Given | None:
    """What became of an issued credit note; None of what is none."""
    if bill.summary.kind != "credit_note" or bill.summary.number is None:
        return None
    return await _given(conn, bill.summary)


async def explain(conn: Conn, bill: Bill) -> tuple[Explained, ...]:
    """What the charges of a bill follow from, in their order."""
    used = {charge.tariff_version_id for charge in bill.charges}
    versions = await tariffs.versions_by_id(conn, sorted(one for one in used if one is not None))
    return explain_bill(bill, versions)


async def run_of_job(conn: Conn, job_id: int) -> BillRun:
    """The run that a job does, or issues. Raises NotFound."""
    found = await run_repository.run_of_job(conn, job_id)
    if found is None:
        raise NotFound("no-such-run", f"job {job_id} does no bill run")
    return found


async def list_runs(conn: Conn, page: PageRequest, project_id: int | None = None) -> Page[BillRun]:
    """Runs, newest first."""
    found = await run_repository.runs(conn, project_id, before=after_id(page, MAX_ID), limit=page.limit + 1)
    return cut(found, page, lambda run: (run.id,))


async def run_failures(conn: Conn, page: PageRequest, run_id: int, code: str | None = None) -> Page[RunFailure]:
    """Accounts a run could not bill, and why; with one reason, where it is named."""
    found = await failure_repository.failures(conn, run_id, code=code, after=after_id(page), limit=page.limit + 1)
    return cut(found, page, lambda one: (one.account_id,))


async def failure_counts(conn: Conn, run_id: int) -> dict[str, int]:
    """How many accounts a run could not bill, by reason, the most frequent first."""
    return await failure_repository.counts_by_code(conn, run_id)


async def month_totals(conn: Conn, project_id: int, period: Period, *, now: datetime | None = None) -> BillingTotals:
    """Billed for `period`, collected in it, and what is open and overdue now."""
    project = await estate.get_project(conn, project_id)
    today = local_day(now or datetime.now(UTC), project.zone)
    sums = await repository.totals(conn, project_id, period, today)
    return BillingTotals(**sums, currency=project.currency)


async def prepaid_balance(conn: Conn, account_id: int) -> Decimal:
    """What an account has paid beyond its bills."""
    return await held(conn, account_id, "balance")
