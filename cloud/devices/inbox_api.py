"""REST: messages that could not be taken, readings without a place; trying them again and deciding about them."""

from datetime import timedelta
from typing import Annotated

from fastapi import Query

from cloud.devices import inbox_decisions, replays, service
from cloud.devices.inbox_models import (
    DeadLetterOut,
    DecisionIn,
    DecisionOut,
    LetterQuery,
    ReplayIn,
    ReplayOut,
    UnclaimedOut,
    UnclaimedQuery,
)
from cloud.identity.guards import Scope, allow
from cloud.kit.errors import InvalidInput
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed, ListQuery
from cloud.kit.routing import rest_router

router = rest_router("devices")

Reading = Annotated[Scope, allow("devices.read")]
Writing = Annotated[Scope, allow("devices.write")]


@router.get("/dead-letters")
async def list_dead_letters(scope: Reading, query: Annotated[LetterQuery, Query()]) -> Listed[DeadLetterOut]:
    """Messages that could not be taken, newest first."""
    page = await service.list_dead_letters(scope.conn, query.page(), query.wanted())
    return Listed(items=[DeadLetterOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.get("/unclaimed-readings")
async def list_unclaimed(scope: Reading, query: Annotated[UnclaimedQuery, Query()]) -> Listed[UnclaimedOut]:
    """Readings that no meter can take yet, counted by channel."""
    page = await service.list_unclaimed(scope.conn, query.page(key_length=5), query.wanted())
    return Listed(items=[UnclaimedOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/inbox-replays", status_code=201)
async def replay(body: ReplayIn, scope: Writing, once: Once) -> ReplayOut:
    """Has what waits tried again by a job; what can be stored now is stored once. Safe to repeat."""

    async def make() -> ReplayOut:
        asked = replays.replay_of(body.subject, body.wanted(), body.limit)
        found = await replays.count(scope.conn, asked)
        if body.dry_run:
            return ReplayOut(job_id=None, found=found)
        return ReplayOut(job_id=await replays.ask(scope.conn, asked, scope.caller.user_id), found=found)

    return await once.answer(scope.conn, ReplayOut, make)


@router.get("/inbox-decisions")
async def list_decisions(scope: Reading, query: Annotated[ListQuery, Query()]) -> Listed[DecisionOut]:
    """What was decided, newest first."""
    page = await inbox_decisions.list_decisions(scope.conn, query.page(), query.project_id)
    return Listed(items=[DecisionOut.model_validate(row) for row in page.items], next_cursor=page.next_cursor)


@router.post("/inbox-decisions", status_code=201)
async def decide(body: DecisionIn, scope: Writing, once: Once) -> DecisionOut:
    """Discards what waits and fits, or has readings placed with the time corrected. Nothing is deleted."""
    if (body.action == "correct-clock") != (body.ahead_s is not None):
        raise InvalidInput("bad-ahead", "`ahead_s` belongs to `correct-clock`, which needs it", field="ahead_s")

    async def make() -> DecisionOut:
        actor = scope.caller.actor
        if body.ahead_s is None:
            made = await inbox_decisions.discard(scope.conn, body.subject, body.wanted(), body.reason, actor)
        else:
            ahead = timedelta(seconds=body.ahead_s)
            made = await inbox_decisions.correct_clock(scope.conn, body.wanted(), ahead, body.reason, actor)
        return DecisionOut.model_validate(made)

    return await once.answer(scope.conn, DecisionOut, make)


@router.post("/inbox-decisions/{decision_id}/undo", status_code=201)
async def undo(decision_id: Id, scope: Writing, once: Once) -> DecisionOut:
    """Takes a decision back: what it put away waits again. Readings placed meanwhile stay placed."""

    async def make() -> DecisionOut:
        made = await inbox_decisions.undo(scope.conn, decision_id, scope.caller.actor)
        return DecisionOut.model_validate(made)

    return await once.answer(scope.conn, DecisionOut, make)
