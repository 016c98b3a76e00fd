"""People that somebody names in a form or file: by name, by number when several are called so, by telephone."""

from collections.abc import Collection

from fastapi import Request

from cloud.estate import service as estate
from cloud.identity.guards import Scope
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import PageRequest

SEE_PEOPLE = "people.read"
_OFFERED = 20


async def person_named(request: Request, scope: Scope, project_id: int, text: str) -> int:
    """The person of a name, of `#7`, or, for those who may see people, of a telephone number.

    Raises InvalidInput when nobody is called so, Conflict when several are: it names the numbers to choose from.
    """
    if not text.strip():
        raise InvalidInput("nobody-named", "expected the name of a person", field="person")
    number = text.strip().removeprefix("#")
    digits = number.isascii() and number.isdecimal() and len(number) < 19
    if digits and await _is_here(scope.conn, project_id, int(number)):
        return int(number)
    page = PageRequest(_OFFERED)
    sealer = request.app.state.sealer
    if not digits:
        found = (await estate.list_people(scope.conn, sealer, page, project_id=project_id, name=text.strip())).items
    elif number == text.strip() and scope.caller.may(SEE_PEOPLE, project_id):
        found = (await estate.list_people(scope.conn, sealer, page, project_id=project_id, phone=number)).items
    else:
        found = []
    exact = [one for one in found if one.name == text.strip()] or list(found)
    if not exact and digits:
        raise InvalidInput("unknown-person", f"there is no person {number} here", field="person")
    if not exact:
        raise InvalidInput("unknown-person", f"nobody here is called {text[:40]!r}", field="person")
    if len(exact) > 1:
        choice = ", ".join(f"#{one.id} {one.name}" + (f" ({one.phone})" if one.phone else "") for one in exact)
        raise Conflict("several-people", f"several people are called so; enter one number: {choice}", field="person")
    return exact[0].id


async def _is_here(conn: Conn, project_id: int, person_id: int) -> bool:
    try:
        return await estate.project_of_person(conn, person_id) == project_id
    except NotFound:
        return False


async def names_of(request: Request, scope: Scope, project_id: int, ids: Collection[int]) -> dict[int, str]:
    """Names of people by id, for those who may see them; others get none."""
    if not scope.caller.may(SEE_PEOPLE, project_id):
        return {}
    found = await estate.people_by_id(scope.conn, request.app.state.sealer, ids)
    return {person_id: person.name for person_id, person in found.items()}
