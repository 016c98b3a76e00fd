"""Pages of messages that could not be taken and readings without a place: filter, try again, discard, correct, undo."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final, Literal
from urllib.parse import urlencode

from fastapi import Form, Request
from pydantic import BeforeValidator
from starlette.responses import RedirectResponse, Response

from cloud.devices import inbox_decisions, replays, service
from cloud.devices.records import InboxFilter, InboxState, InboxSubject
from cloud.estate.shown import OptionalId, OptionalText, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router

router = page_router()

_SHOWN: Final = 50
_Reading = Annotated[Scope, allow_page("devices.read")]
_Writing = Annotated[Scope, allow_page("devices.write")]
_Because = Annotated[str, Form(min_length=1, max_length=500)]
_Text = Annotated[OptionalText, Form()]
_Until = Annotated[datetime, Form()]
_State = Annotated[InboxState | None, BeforeValidator(lambda value: None if value == "" else value)]


@router.get("/devices/inbox")
async def inbox(
    request: Request,
    scope: _Reading,
    subject: InboxSubject = "dead-letters",
    state: _State = "waiting",
    reason: OptionalText = None,
    gateway: OptionalText = None,
    device: OptionalText = None,
    cursor: str | None = None,
) -> Response:
    """What waits, or what became of it."""
    page = await shown(request, scope)
    project_id = page.project.id
    wanted = InboxFilter(project_id, state, reason, gateway_code=gateway, device_code=device)
    letters = subject == "dead-letters"
    asked = page_request(_SHOWN, cursor, key_length=1 if letters else 5)
    lists = service.list_dead_letters if letters else service.list_unclaimed
    replay = replays.replay_of(subject, wanted)
    return page.page(
        "devices/inbox.html",
        subject=subject,
        found=await lists(scope.conn, asked, wanted),
        counts=await replays.count(scope.conn, replays.replay_of(subject, InboxFilter(project_id))),
        replayable=sum((await replays.count(scope.conn, replay)).values()),
        wanted=wanted,
        states=_STATES[subject],
        until=datetime.now(UTC).isoformat(),
        may_decide=scope.caller.may("devices.write", project_id),
    )


_STATES: Final[dict[InboxSubject, tuple[InboxState, ...]]] = {
    "dead-letters": ("waiting", "replayed", "discarded"),
    "unclaimed-readings": ("waiting", "discarded", "corrected"),
}


@router.get("/devices/inbox/decisions")
async def decisions(request: Request, scope: _Reading, cursor: str | None = None) -> Response:
    """What was decided, newest first."""
    page = await shown(request, scope)
    return page.page(
        "devices/inbox_decisions.html",
        found=await inbox_decisions.list_decisions(scope.conn, page_request(_SHOWN, cursor), page.project.id),
        may_decide=scope.caller.may("devices.write", page.project.id),
    )


@router.post("/devices/inbox")
async def act(
    request: Request,
    scope: _Writing,
    subject: Annotated[InboxSubject, Form()],
    action: Annotated[Literal["replay", "discard"], Form()],
    until: _Until,
    because: Annotated[str, Form(max_length=500)] = "",
    reason: _Text = None,
    gateway: _Text = None,
    device: _Text = None,
    channel: _Text = None,
    letter_id: Annotated[OptionalId, Form()] = None,
) -> Response:
    """Tries again, or puts away, what waited when the page was made: what came since is left alone."""
    page = await shown(request, scope)
    wanted = InboxFilter(page.project.id, "waiting", reason, None, until, gateway, device, channel, letter_id)
    if action == "replay":
        asked = replays.replay_of(subject, wanted)
        await replays.ask(scope.conn, asked, scope.caller.user_id)
        return _back(subject, "replaying")
    await inbox_decisions.discard(scope.conn, subject, wanted, because, scope.caller.actor)
    return _back(subject, "discarded")


@router.post("/devices/inbox/correct-clock")
async def correct_clock(
    request: Request,
    scope: _Writing,
    gateway: Annotated[str, Form(min_length=1, max_length=64)],
    device: Annotated[str, Form(min_length=1, max_length=64)],
    ahead_s: Annotated[int, Form(ge=1, le=3_155_760_000)],
    because: _Because,
    until: _Until,
) -> Response:
    """Has readings of a device whose clock was ahead placed so much earlier."""
    page = await shown(request, scope)
    wanted = InboxFilter(page.project.id, until=until, gateway_code=gateway, device_code=device)
    await inbox_decisions.correct_clock(scope.conn, wanted, timedelta(seconds=ahead_s), because, scope.caller.actor)
    return _back("unclaimed-readings", "correcting")


@router.post("/devices/inbox/decisions/{decision_id}/undo")
async def undo(scope: _Writing, decision_id: int) -> Response:
    """Takes a decision back."""
    await inbox_decisions.undo(scope.conn, decision_id, scope.caller.actor)
    return RedirectResponse("/devices/inbox/decisions?done=taken-back", 303)


def _back(subject: InboxSubject, done: str) -> Response:
    return RedirectResponse(f"/devices/inbox?{urlencode({'subject': subject, 'done': done})}", 303)
