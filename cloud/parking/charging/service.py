"""What a stay costs now, paying for it, and letting a vehicle out that owes nothing."""

from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import psycopg
import structlog

from cloud.devices import service as devices
from cloud.devices.records import Wish
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.periods import local_day
from cloud.parking.charging import debts, repository
from cloud.parking.charging.following import money_follows
from cloud.parking.charging.quoting import Facts, after_payment, facts_of, quoted
from cloud.parking.charging.showing import Owing, tell_drivers
from cloud.parking.charging.taking import Money, Part, take
from cloud.parking.records import Debt, Paid, Quote, Session, Waiting
from cloud.parking.stays import reading_repository
from cloud.parking.stays import repository as stays_repository
from cloud.parking.stays.service import find_session, locked_session
from gateway.contract.messages import Action

_log = structlog.get_logger(__name__)

WAITS_AT_MOST = timedelta(minutes=30)
"""A vehicle that was seen at an exit longer ago, and neither passed nor turned back, is taken to be gone."""

OPEN_WITHIN = timedelta(seconds=60)
"""How long an order to open stays valid."""

SYSTEM_ACTOR = "system:parking"

CERTAIN_AT_THE_EDGE = frozenset({"free", "paid", "permit", "permit-grace", "whitelist"})
"""Decisions by which a lane opens an exit. Whoever still stands there was told to go: what is due after all is owed."""

UNCERTAIN_AT_THE_EDGE = "uncertain"
"""The lane ordered its barrier to open and heard no answer: it may be open, and nothing opens it by itself again."""


@dataclass(frozen=True, slots=True)
class _Leaving:
    """A vehicle that owes nothing, where it waits, and why it may go."""

    session: Session
    waiting: Waiting
    reason: str


async def quote(conn: Conn, session_id: int, at: datetime | None = None) -> Quote:
    """What the stay costs at `at` (default: now).

    A stay that is over costs what is stored of it: whatever its price follows from prices it anew. One whose vehicle
    waits at an exit is priced until it came there, so that nobody pays for standing at the barrier. Raises NotFound;
    Conflict when no entry was seen, when a second entry ended the stay (`unmatched`), or when the lot had no rule on
    the day of the entry (`no-rule`).
    """
    session = await find_session(conn, session_id)
    now = at or datetime.now(UTC)
    waiting = await _waiting(conn, session, now)
    return _quoted(await facts_of(conn, session.project_id, [session]), session, now, waiting)


async def pay(
    conn: Conn,
    session_id: int,
    amount: Decimal,
    method: str,
    actor: str,
    *,
    created_by: int | None = None,
    reference: str = "",
    at: datetime | None = None,
) -> Paid:
    """Takes what is due for the stay, or for it and the plate's earlier ones; a vehicle that waits is let out, or its
    driver told what is still due.

    Raises what `quote` raises, InvalidInput for an amount of 0 or less, Conflict when nothing is due or another
    amount is (`params["due"]`).
    """
    if amount <= 0:
        raise InvalidInput("bad-amount", "expected an amount above 0", field="amount")
    now = at or datetime.now(UTC)
    session = await locked_session(conn, session_id)
    waiting = await _waiting(conn, session, now)
    facts = await facts_of(conn, session.project_id, [session])
    price = _quoted(facts, session, now, waiting)
    if price.total == 0:
        raise Conflict("nothing-due", "nothing is due for this stay", due=price.total)
    if amount not in (price.total, price.due):
        raise Conflict("amount-changed", f"{price.total} {price.currency} is due now", field="amount", due=price.total)
    parts = [Part(session, price.due, price.until)] if price.due else []
    if amount == price.total:
        parts += [Part(await find_session(conn, debt.session_id), debt.due, debt.left_at) for debt in price.debts]
    paid_on = await _local_date(conn, session.project_id, now)
    money = Money(amount, price.currency, method, paid_on, reference, created_by)
    payment_id = await take(conn, session.project_id, money, parts, "paid-twice", session.plate)
    await money_follows(conn, session.project_id, {session.plate})
    command_id = None
    if waiting is None:
        await let_out_plate(conn, session.project_id, session.plate, now)
    else:
        facts = await after_payment(conn, facts, session.project_id, [session])
        rest = _quoted(facts, session, now, waiting)
        if rest.settled:
            command_id = next(iter(await _let_out(conn, [_Leaving(session, waiting, "paid")], actor)), None)
        else:
            await tell_drivers(conn, [Owing(session, waiting, rest)], SYSTEM_ACTOR)
    return Paid(payment_id, session_id, amount, price.currency, price.until, command_id)


async def waive(
    conn: Conn, session_id: int, amount: Decimal | None, reason: str, actor: str, at: datetime | None = None
) -> Debt:
    """Nobody has to pay `amount` (None: all) of what is owed for a stay: see `debts.waive`.

    The plate's vehicle may wait at an exit for this debt: it is let out, or told what is still due.
    """
    debt = await debts.waive(conn, session_id, amount, reason, actor)
    await let_out_plate(conn, debt.project_id, debt.plate, at or datetime.now(UTC))
    return debt


async def let_out_plate(conn: Conn, project_id: int, plate: str, now: datetime) -> None:
    """Lets the vehicle of a plate out if it owes nothing, wherever it waits. The caller has locked the plate."""
    for session_id in await repository.open_stays(conn, project_id, plate):
        await let_out_alone(conn, session_id, now)


async def let_out_if_settled(conn: Conn, session_id: int, now: datetime) -> UUID | None:
    """Opens for the session's vehicle when it waits at an exit and owes nothing; returns the new command's id.

    A vehicle whose stay nobody can price is left to the operator. Somebody says that it is there now: by paying for it,
    or with a coupon.
    """
    opened = await _let_out_settled(conn, [session_id], now)
    return opened[0] if opened else None


async def let_out_arrived(conn: Conn, session_ids: Sequence[int], now: datetime) -> int:
    """Lets out those of the vehicles at exits that owe nothing, together; returns how many openings were ordered.

    Not one that was told as offline: it stood there some time ago, and the barrier would open for the next one.
    When that fails, one by one: whatever is wrong with one vehicle, no other may be held by it. Raises
    psycopg.OperationalError when the whole transaction is to be done again.
    """
    if not session_ids:
        return 0
    try:
        async with conn.transaction():
            return len(await _let_out_settled(conn, session_ids, now, said_to_be_there=False))
    except psycopg.OperationalError:
        raise
    except Exception:  # noqa: BLE001 - what is wrong with one is told when it is its turn
        alone = [await let_out_alone(conn, session_id, now, said_to_be_there=False) for session_id in session_ids]
        return sum(alone)


async def _let_out_settled(
    conn: Conn, session_ids: Sequence[int], now: datetime, *, said_to_be_there: bool = True
) -> list[UUID]:
    """The commands to open for those that wait at an exit and owe nothing; the others are told what is due."""
    sessions = {one.id: one for one in await reading_repository.sessions_by_id(conn, session_ids)}
    open_ids = [id_ for id_, one in sessions.items() if one.state == "open"]
    standing = await repository.waiting(conn, open_ids, now - WAITS_AT_MOST)
    priced: dict[int, list[Session]] = defaultdict(list)
    standing = {
        id_: one
        for id_, one in standing.items()
        if one.decision != UNCERTAIN_AT_THE_EDGE and (said_to_be_there or not one.offline)
    }
    for id_, waiting in standing.items():
        if waiting.decision not in CERTAIN_AT_THE_EDGE:
            priced[sessions[id_].project_id].append(sessions[id_])
    facts = {project_id: await facts_of(conn, project_id, some) for project_id, some in priced.items()}
    leaving: list[_Leaving] = []
    owing: list[Owing] = []
    for id_, waiting in standing.items():
        session = sessions[id_]
        if waiting.decision in CERTAIN_AT_THE_EDGE:
            leaving.append(_Leaving(session, waiting, f"decided at the lane: {waiting.decision}"))
            continue
        with suppress(Conflict):  # nobody can price it
            price = quoted(facts[session.project_id], session, now, waiting.taken_at)
            if price.settled:
                leaving.append(_Leaving(session, waiting, "nothing due"))
            else:
                owing.append(Owing(session, waiting, price))
    opened = await _let_out(conn, leaving, SYSTEM_ACTOR)
    await tell_drivers(conn, owing, SYSTEM_ACTOR)
    return opened


async def let_out_waiting(conn: Conn, project_id: int, now: datetime) -> int:
    """Opens for every vehicle that waits at an exit, owes nothing, and whose opening never came through.

    Returns how many openings were ordered.
    """
    waiting = await repository.waiting_sessions(conn, project_id, now - WAITS_AT_MOST)
    locked = {plate for _, plate in waiting}
    await stays_repository.lock_plates(conn, project_id, locked)
    # Looked at again: the stay may have turned out to be part of another while nobody had locked its plate.
    again = await repository.waiting_sessions(conn, project_id, now - WAITS_AT_MOST)
    return await let_out_arrived(conn, [session_id for session_id, plate in again if plate in locked], now)


async def let_out_alone(conn: Conn, session_id: int, now: datetime, *, said_to_be_there: bool = True) -> bool:
    """Lets a vehicle out that owes nothing; what goes wrong with it is told in the log, undone, and keeps no other.

    Raises psycopg.OperationalError when the whole transaction is to be done again.
    """
    try:
        async with conn.transaction():
            return bool(await _let_out_settled(conn, [session_id], now, said_to_be_there=said_to_be_there))
    except psycopg.OperationalError:
        raise
    except Exception:  # noqa: BLE001 - whatever is wrong with one vehicle, no other may be held by it
        _log.exception("parking.not_let_out", session=session_id)
        return False


def _quoted(facts: Facts, session: Session, now: datetime, waiting: Waiting | None) -> Quote:
    return quoted(facts, session, now, None if waiting is None else waiting.taken_at)


async def _waiting(conn: Conn, session: Session, now: datetime) -> Waiting | None:
    if session.state != "open":
        return None
    return (await repository.waiting(conn, [session.id], now - WAITS_AT_MOST)).get(session.id)


async def _let_out(conn: Conn, leaving: Sequence[_Leaving], actor: str) -> list[UUID]:
    """Opens for those for whom no opening is on its way or may have happened; returns the new commands' ids.

    Where the gateway says that the barrier cannot, what was paid is paid, and a person opens.
    """
    wanted: dict[int, list[tuple[_Leaving, Wish]]] = defaultdict(list)
    for one in leaving:
        device_id, arguments = one.waiting.device_id, {"passage": str(one.waiting.passage_id)}
        if device_id is not None and await _may_open(conn, one.waiting):
            wish = Wish(device_id, Action.OPEN_BARRIER, arguments, actor, one.reason, OPEN_WITHIN)
            wanted[one.session.project_id].append((one, wish))
    opened: dict[UUID, UUID] = {}
    for project_id, some in wanted.items():
        answers = await devices.queue_commands(conn, project_id, [wish for _, wish in some])
        for (one, wish), answer in zip(some, answers, strict=True):
            if isinstance(answer, Conflict):
                _log.warning(
                    "parking.barrier_cannot", session=one.session.id, device=wish.device_id, error=answer.detail
                )
            else:
                opened[one.waiting.passage_id] = answer
    if opened:
        await stays_repository.note_commands(conn, opened)
    return list(opened.values())


async def _may_open(conn: Conn, waiting: Waiting) -> bool:
    """Whether no earlier opening can let the vehicle out any more.

    One that expired or failed did not open: the vehicle still stands there, and may not be trapped. One that was done,
    or whose outcome is uncertain, may have opened and is never repeated by itself; only a vehicle that is recognised
    anew after that opening's time is over stands there for certain.
    """
    if waiting.command_id is None:
        return True
    command = await devices.get_command(conn, waiting.command_id)
    if command.state in ("expired", "failed"):
        return True
    return command.state in ("done", "uncertain") and waiting.taken_at > command.expires_at


async def _local_date(conn: Conn, project_id: int, instant: datetime) -> date:
    return local_day(instant, (await estate.get_project(conn, project_id)).zone)
