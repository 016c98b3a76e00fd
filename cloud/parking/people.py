"""People that somebody names in a form: found by name, or by number when several are called so."""

from collections.abc import Collection

from fastapi import Request

from cloud.estate import service as estate
from cloud.identity.guards import Scope
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.paging import PageRequest

SEE_PEOPLE = "people.read"
_OFFERED = 20


async def person_named(request: Request, scope: Scope, project_id: int, text: str) -> int:
    """The person of a name, or of `#7`. Raises InvalidInput when nobody is called so, Conflict when several are.

    The refusal names the numbers to choose from.
    """
    if not text.strip():
        raise InvalidInput("nobody-named", "expected the name of a person", field="person")
    number = text.strip().removeprefix("#")
    if number.isascii() and number.isdecimal() and len(number) < 19:
        if await estate.project_of_person(scope.conn, int(number)) == project_id:
            return int(number)
        raise InvalidInput("unknown-person", f"there is no person {number} here", field="person")
    page = PageRequest(_OFFERED)
    sealer = request.app.state.sealer
    found = (await estate.list_people(scope.conn, sealer, page, project_id=project_id, name=text.strip())).items
    exact = [one for one in found if one.name == text.strip()] or list(found)
    if not exact:
        raise InvalidInput("unknown-person", f"nobody here is called {text[:40]!r}", field="person")
    if len(exact) > 1:
        choice = ", ".join(f"#{one.id} {one.name}" + (f" ({one.phone})" if one.phone else "") for one in exact)
        raise Conflict("several-people", f"several people are called so; enter one number: {choice}", field="person")
    return exact[0].id


async def names_of(request: Request, scope: Scope, project_id: int, ids: Collection[int]) -> dict[int, str]:
    """Names of people by id, for those who may see them; others get none."""
    if not scope.caller.may(SEE_PEOPLE, project_id):
        return {}
    found = await estate.people_by_id(scope.conn, request.app.state.sealer, ids)
    return {person_id: person.name for person_id, person in found.items()}
