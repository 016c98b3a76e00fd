"""Which project a page shows: the one its reader chose, else his first."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any

from fastapi import Request
from pydantic import BeforeValidator, Field
from starlette.responses import HTMLResponse

from cloud.estate import service
from cloud.estate.records import Project
from cloud.identity.caller import Caller
from cloud.identity.guards import Scope
from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.kit.i18n import Translator, speaking
from cloud.kit.pages import cookie_name, render, translator_of

PROJECT_COOKIE = "project"


def _blank_is_none(value: object) -> object:
    return None if value == "" else value


OptionalId = Annotated[int | None, BeforeValidator(_blank_is_none)]
"""An id from a form or a list of choices, where "any" arrives as the empty text."""
# Years that every calendar of the database has, with room for the day after.
OptionalDay = Annotated[
    Annotated[date, Field(ge=date(1970, 1, 1), le=date(9998, 12, 31))] | None, BeforeValidator(_blank_is_none)
]
OptionalText = Annotated[Annotated[str, Field(max_length=100)] | None, BeforeValidator(_blank_is_none)]


@dataclass(frozen=True, slots=True)
class Shown:
    """A page in the making: the request, who reads, and the projects to choose from."""

    request: Request
    conn: Conn
    caller: Caller
    projects: list[Project]
    chosen: Project | None

    @property
    def project(self) -> Project:
        """The project shown. Raises NotFound when the reader has none."""
        if self.chosen is None:
            raise NotFound("no-project", "no project is open to you here")
        return self.chosen

    def speaking(self) -> AbstractContextManager[Translator]:
        """For words that are made before the page is: inside the block they are in its reader's language."""
        return speaking(translator_of(self.request, self.caller))

    def page(self, template: str, *, status: int = 200, **context: Any) -> HTMLResponse:
        """Renders `template` with the shell's context and `context`."""
        return render(
            self.request,
            template,
            self.caller,
            status,
            projects=self.projects,
            project=self.chosen,
            **context,
        )


async def shown(request: Request, scope: Scope) -> Shown:
    """What a page of this request shows. Under row-level security only the reader's own projects can be chosen."""
    projects = await service.projects(scope.conn)
    wanted = request.cookies.get(cookie_name(request, PROJECT_COOKIE))
    chosen = next((one for one in projects if str(one.id) == wanted), projects[0] if projects else None)
    return Shown(request, scope.conn, scope.caller, projects, chosen)
