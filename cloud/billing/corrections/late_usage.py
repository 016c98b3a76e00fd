"""Usage that changed after it was charged: taken from the queue and re-rated, in chunks that commit by themselves."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Literal, LiteralString

from cloud.billing.agreements.rerating import rerate_agreed
from cloud.billing.charges.pieces import Unbillable
from cloud.billing.corrections import late_repository
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.adjustments import Cause, ChargeState
from cloud.billing.corrections.late_repository import LateUsage, WhyLate
from cloud.billing.corrections.rerating import rerate
from cloud.billing.estimates.estimating import OpenExceptions
from cloud.billing.runs.drafting import Progress, lock_charges
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.jobs import enqueue
from cloud.kit.periods import local_day
from cloud.kit.portions import by_halves

RE_RATE_JOB = "billing.re-rate"
CHUNK = 200

DRAFT = Unbillable("draft-waits", "a draft charges this agreement: re-rated once it is issued or cancelled")


_RE_RATING: LiteralString = """
    SELECT id AS job_id, (payload ->> 'account_id')::bigint AS account_id, (payload ->> 'since')::date AS since, state,
           error, (result ->> 'adjusted')::int AS adjusted
    FROM job WHERE id = %s AND kind = %s AND payload ? 'account_id'
"""


@dataclass(frozen=True, slots=True)
class ReRating:
    """Re-rating of an account that somebody asked for. `adjusted`: charges that came to another amount, once done."""

    job_id: int
    account_id: int
    since: date
    state: Literal["queued", "running", "done", "failed", "cancelled"]
    error: str | None
    adjusted: int | None

    @property
    def working(self) -> bool:
        """Whether it goes on."""
        return self.state in ("queued", "running")


@dataclass(frozen=True, slots=True)
class Outcome:
    """`adjusted` charges came to another amount; `waiting` meters, units or accounts could not be seen to yet."""

    adjusted: int = 0
    waiting: int = 0

    def __add__(self, other: "Outcome") -> "Outcome":
        return Outcome(self.adjusted + other.adjusted, self.waiting + other.waiting)


async def rerate_late(db: Database, asker: Asker, project_id: int, progress: Progress | None = None) -> Outcome:
    """Re-rates what changed late in a project. It may be broken off and repeated at any point."""
    done, after, seen = Outcome(), 0, 0
    async with db.transaction(asker) as conn:
        project = await estate.get_project(conn, project_id)
    while True:
        async with db.transaction(asker) as conn:
            meters = await late_repository.late_meters(conn, project_id, after, CHUNK)
        if not meters:
            return done
        done += await _meters(db, asker, project, meters)
        after, seen = meters[-1], seen + len(meters)
        if progress is not None:
            await progress(seen, seen)


async def _meters(db: Database, asker: Asker, project: Project, meters: Sequence[int]) -> Outcome:
    """One transaction for all; a meter that cannot be worked on waits alone, with the reason."""

    async def rated(some: Sequence[int]) -> Outcome:
        async with db.transaction(asker) as conn:
            return await _take(conn, project, some)

    async def refused(meter: int, error: Exception) -> Outcome:
        async with db.transaction(asker) as conn:
            late = await late_repository.take_late(conn, [meter])
            await late_repository.keep_late(conn, {one.id: WhyLate(*refusal(error)) for one in late})
        return Outcome(waiting=1)

    return sum(await by_halves(meters, rated, refused), Outcome())


async def _take(conn: Conn, project: Project, meters: Sequence[int]) -> Outcome:
    await lock_charges(conn, project.id)
    late: dict[int, list[LateUsage]] = defaultdict(list)
    for one in await late_repository.take_late(conn, meters):
        late[one.meter_id].append(one)
    since = {meter: min(local_day(one.from_at, project.zone) for one in found) for meter, found in late.items()}
    states = await adjustments_repository.states_of_meters(conn, since)
    rerated = await rerate(conn, project, states)
    waiting = _waiting(states, rerated.failures)
    kept = {one.id: waiting[meter] for meter, found in late.items() if meter in waiting for one in found}
    await late_repository.keep_late(conn, kept)
    done = [one.id for meter, found in late.items() if meter not in waiting for one in found]
    await late_repository.forget_late(conn, done)
    return Outcome(rerated.adjusted, len({meter for meter in late if meter in waiting}))


def _waiting(states: Sequence[ChargeState], failures: Mapping[int, Unbillable]) -> dict[int, WhyLate]:
    """Meters that must be looked at again, with the reason and whom it is about."""
    found: dict[int, WhyLate] = {}
    for one in states:
        reason = failures.get(one.account_id, None if one.issued else DRAFT)
        if one.meter_id is None or reason is None:
            continue
        before = found.get(one.meter_id, WhyLate(reason.code, reason.detail))
        # A draft is over soon: what else speaks against it is told first.
        told = before if reason is DRAFT else replace(before, code=reason.code, detail=reason.detail)
        found[one.meter_id] = replace(told, accounts=told.accounts | {one.account_id})
    return found


async def rerate_account(
    conn: Conn,
    account_id: int,
    since: date,
    *,
    cause: Cause = "usage",
    open_findings: OpenExceptions = "ask",
) -> Outcome:
    """Re-rates everything charged of an account of days from `since` on.

    `cause` says what counts as it is known now (see `rerating.rerate`); the rest is as the bills were rated by. What
    its meters counted late comes first, as in the night: a charge before `since` may cite a reading that was put right.
    Where `open_findings` says what comes of them, what came late no longer waits for somebody to decide on them.
    Raises NotFound; Conflict with the reason where it cannot be rated.
    """
    account = (await estate.accounts_by_id(conn, [account_id])).get(account_id)
    if account is None:
        raise NotFound("no-such-account", f"there is no account {account_id}", field="account_id")
    project = await estate.get_project(conn, account.project_id)
    await lock_charges(conn, project.id)
    late = await late_repository.late_meters_of(conn, account_id)
    first = await _take(conn, project, late) if late else Outcome()
    states = await adjustments_repository.states_of_account(conn, account_id, since)
    rerated = await rerate(conn, project, states, cause=cause, open_findings=open_findings)
    for reason in rerated.failures.values():
        raise Conflict(reason.code, reason.detail)
    if open_findings != "ask":
        await late_repository.forget_decided(conn, account_id, late, since)
    agreed = 0
    if cause != "usage":
        found = await adjustments_repository.agreed_states(conn, since, account_id=account_id)
        agreed = await rerate_agreed(conn, project, found, cause)
    return Outcome(first.adjusted + rerated.adjusted + agreed)


async def re_rating(conn: Conn, job_id: int) -> ReRating:
    """How far the re-rating of an account is, and what came of it. Raises NotFound."""
    row = await (await conn.execute(_RE_RATING, (job_id, RE_RATE_JOB))).fetchone()
    if row is None:
        raise NotFound("no-such-job", f"job {job_id} re-rates no account", field="job_id")
    return ReRating(**row)


@dataclass(frozen=True, slots=True)
class WantedReRating:
    """What is rated again of an account, and why: see `rerate_account`."""

    account_id: int
    since: date
    cause: Cause = "usage"
    open_findings: OpenExceptions = "ask"


async def ask_to_rerate(conn: Conn, wanted: WantedReRating, *, by: int | None) -> int:
    """Writes a job that re-rates an account, and returns its id. Raises NotFound."""
    account = (await estate.accounts_by_id(conn, [wanted.account_id])).get(wanted.account_id)
    if account is None:
        raise NotFound("no-such-account", f"there is no account {wanted.account_id}", field="account_id")
    payload = {
        "account_id": wanted.account_id,
        "since": wanted.since.isoformat(),
        "cause": wanted.cause,
        "open_findings": wanted.open_findings,
    }
    return await enqueue(conn, RE_RATE_JOB, payload, project_id=account.project_id, created_by=by)
