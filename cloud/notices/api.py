"""REST: notices and what became of them, what people want to get, how projects write."""

from typing import Annotated

from fastapi import Query, Request

from cloud.estate import service as estate
from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.notices import service
from cloud.notices.models import NoticeOut, NoticeQuery, PreferenceIn, PreferenceOut, SettingsIn, SettingsOut
from cloud.notices.records import Preference

router = rest_router("notices")

Reading = Annotated[Scope, allow("notices.read")]
Writing = Annotated[Scope, allow("notices.write")]
Choosing = Annotated[Scope, allow("notices.choose")]


@router.get("/notices")
async def list_notices(scope: Reading, query: Annotated[NoticeQuery, Query()]) -> Listed[NoticeOut]:
    """Notices, newest first; residents see their own."""
    page = await service.list_notices(scope.conn, query.page(), query.wanted())
    return Listed(items=[NoticeOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/notices/{notice_id}")
async def get_notice(scope: Reading, notice_id: Id) -> NoticeOut:
    """One notice."""
    return NoticeOut.of(await service.get_notice(scope.conn, notice_id))


@router.post("/notices/{notice_id}/repetitions", status_code=201)
async def send_again(scope: Writing, notice_id: Id, once: Once) -> NoticeOut:
    """Sends what failed, was given up or suppressed, to the address that the person has now."""

    async def make() -> NoticeOut:
        return NoticeOut.of(await service.send_again(scope.conn, notice_id))

    return await once.answer(scope.conn, NoticeOut, make)


@router.get("/people/{person_id}/notice-preferences")
async def get_preference(scope: Reading, person_id: Id) -> PreferenceOut:
    """What a person wants to get."""
    project_id = await estate.project_of_person(scope.conn, person_id)
    return PreferenceOut.of((await service.preferences(scope.conn, project_id, [person_id]))[person_id])


@router.put("/people/{person_id}/notice-preferences")
async def set_preference(scope: Choosing, person_id: Id, body: PreferenceIn) -> PreferenceOut:
    """Keeps what a person wants to get; what must be told comes all the same."""
    project_id = await estate.project_of_person(scope.conn, person_id)
    wanted = Preference(project_id, person_id, body.language, tuple(sorted(set(body.declined))))
    await service.set_preference(scope.conn, wanted)
    return PreferenceOut.of(wanted)


@router.get("/projects/{project_id}/notice-settings")
async def get_settings(request: Request, scope: Reading, project_id: Id) -> SettingsOut:
    """How a project writes."""
    found = await service.get_settings(scope.conn, project_id)
    return SettingsOut.of(found, request.app.state.settings.mail_is_set_up)


@router.put("/projects/{project_id}/notice-settings")
async def set_settings(request: Request, scope: Writing, project_id: Id, body: SettingsIn) -> SettingsOut:
    """Keeps how a project writes."""
    kept = await service.set_settings(scope.conn, body.of_project(project_id))
    return SettingsOut.of(kept, request.app.state.settings.mail_is_set_up)
