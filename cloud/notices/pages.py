"""Pages of notices: what was told to whom and why it did not arrive, how the project writes, and a person's wishes."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated, Any, Final

from fastapi import Form, Request
from pydantic import BeforeValidator
from starlette.responses import RedirectResponse, Response

from cloud.estate import service as estate
from cloud.estate.models import PersonChange
from cloud.estate.shown import Shown, shown
from cloud.identity.guards import Scope, allow_page
from cloud.kit.errors import Forbidden
from cloud.kit.forms import read, typed
from cloud.kit.inputs import Input
from cloud.kit.paging import page_request
from cloud.kit.routing import page_router
from cloud.notices import service
from cloud.notices.models import SettingsIn
from cloud.notices.records import KINDS, OPTIONAL_KINDS, STATES, Notice, NoticeFilter, NoticeState, Preference

router = page_router()

Reading = Annotated[Scope, allow_page("notices.read")]
Writing = Annotated[Scope, allow_page("notices.write")]
Choosing = Annotated[Scope, allow_page("notices.choose")]

_SHOWN: Final = 50


class _Wanted(Input):
    """The filters of the list; the empty text of a list of choices is any."""

    state: NoticeState | None = None
    kind: str | None = None
    reason: str | None = None
    batch: str | None = None
    account_id: int | None = None


@router.get("/notices")
async def notices(request: Request, scope: Reading) -> Response:
    """Notices of the project, newest first, and how many of them are in which state."""
    if scope.caller.kind == "resident":
        return RedirectResponse("/my/notices", 303)
    page = await shown(request, scope)
    given = {name: value for name, value in request.query_params.items() if value and name in _Wanted.model_fields}
    wanted = NoticeFilter(page.project.id, **read(_Wanted, given).model_dump())
    found = await service.list_notices(scope.conn, page_request(_SHOWN, request.query_params.get("cursor")), wanted)
    of_any_state = replace(wanted, state=None)
    return page.page(
        "notices/list.html",
        found=found,
        names=await _names(request, scope, found.items),
        counts=await service.counts(scope.conn, of_any_state),
        wanted=wanted,
        states=STATES,
        kinds=tuple(KINDS),
        **_writing(page),
    )


@router.post("/notices/repetitions")
async def send_all_again(request: Request, scope: Writing) -> Response:
    """Sends everything that was given up once more."""
    page = await shown(request, scope)
    await service.send_all_again(scope.conn, page.project.id)
    return RedirectResponse("/notices?done=sending", 303)


@router.get("/notices/settings")
async def settings(request: Request, scope: Writing) -> Response:
    """How the project writes."""
    page = await shown(request, scope)
    found = await service.get_settings(scope.conn, page.project.id)
    return page.page("notices/settings.html", settings=found, languages=service.languages(), **_writing(page))


@router.post("/notices/settings")
async def set_settings(request: Request, scope: Writing) -> Response:
    """Keeps how the project writes."""
    page = await shown(request, scope)
    values: dict[str, Any] = await typed(request)
    ticked = {name: name in values for name in ("by_email", "bills_on_issue")}
    await service.set_settings(scope.conn, read(SettingsIn, values | ticked).of_project(page.project.id))
    return RedirectResponse("/notices/settings?done=saved", 303)


@router.get("/notices/{notice_id}")
async def notice(request: Request, scope: Reading, notice_id: int) -> Response:
    """One notice: what it says, and how far it got."""
    page = await shown(request, scope)
    found = await service.get_notice(scope.conn, notice_id)
    if scope.caller.kind == "resident":
        return page.page("notices/mine_show.html", notice=found)
    return page.page(
        "notices/show.html",
        notice=found,
        names=await _names(request, scope, [found]),
        has_address=bool(await estate.emails_of(scope.conn, [found.person_id])),
        may_change=scope.caller.access.may("people.write", found.project_id),
        **_writing(page),
    )


@router.post("/notices/{notice_id}/repetitions")
async def send_again(request: Request, scope: Writing, notice_id: int) -> Response:
    """Sends it once more, to another address where one is given."""
    found = await service.get_notice(scope.conn, notice_id)
    email = (await typed(request)).get("email")
    if email is not None:
        if not scope.caller.access.may("people.write", found.project_id):
            raise Forbidden("no-permission", "this needs the permission people.write", permission="people.write")
        await estate.change_email(scope.conn, found.person_id, read(PersonChange, {"email": email}).email)
    await service.send_again(scope.conn, notice_id)
    return RedirectResponse(f"/notices/{notice_id}?done=sending", 303)


@router.get("/my/notices")
async def my_notices(request: Request, scope: Reading, cursor: str | None = None) -> Response:
    """What the resident was told, and what he wants to get by e-mail; row-level security leaves no others."""
    page = await shown(request, scope)
    project = page.project
    persons = await _persons(scope, project.id)
    found = await service.list_notices(scope.conn, page_request(_SHOWN, cursor), NoticeFilter(project.id))
    wishes = await service.preferences(scope.conn, project.id, persons)
    return page.page(
        "notices/mine.html",
        found=found,
        wishes=next(iter(wishes.values()), Preference(project.id, 0)),
        chooses=bool(persons),
        settings=await service.get_settings(scope.conn, project.id),
        kinds=OPTIONAL_KINDS,
        languages=service.languages(),
        has_address=bool(await estate.emails_of(scope.conn, persons)),
        mail_is_set_up=request.app.state.settings.mail_is_set_up,
    )


@router.post("/my/notices")
async def choose(
    request: Request,
    scope: Choosing,
    language: Annotated[str | None, BeforeValidator(lambda value: value or None), Form(max_length=20)] = None,
    kinds: Annotated[list[str], Form(max_length=len(OPTIONAL_KINDS))] = [],  # noqa: B006 - FastAPI copies it
) -> Response:
    """Keeps what the resident wants, for each person of the project that he is."""
    page = await shown(request, scope)
    declined = tuple(kind for kind in OPTIONAL_KINDS if kind not in kinds)
    for person_id in await _persons(scope, page.project.id):
        await service.set_preference(scope.conn, Preference(page.project.id, person_id, language, declined))
    return RedirectResponse("/my/notices?done=saved", 303)


async def _persons(scope: Scope, project_id: int) -> list[int]:
    """Who the resident is in this project; nobody for staff."""
    mine = scope.caller.access.persons
    return [one for one in mine if await estate.project_of_person(scope.conn, one) == project_id]


async def _names(request: Request, scope: Scope, found: Sequence[Notice]) -> dict[int, str]:
    people = await estate.people_by_id(scope.conn, request.app.state.sealer, {one.person_id for one in found})
    return {person_id: person.name for person_id, person in people.items()}


def _writing(page: Shown) -> dict[str, bool]:
    return {
        "may_write": page.caller.access.may("notices.write", page.project.id),
        "mail_is_set_up": page.request.app.state.settings.mail_is_set_up,
    }
