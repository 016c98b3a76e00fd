"""A directory of routes finds what asking each of them in turn finds."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Match, Mount, Route
from starlette.types import Message, Scope

from cloud.kit.routing import Directory, page_router, rest_router, take_in

_PARTS = st.sampled_from(["", "meters", "lots", "new", "a", "{id}", "{name:path}", "x{id}", "{id:int}"])
_METHODS = st.sampled_from(["GET", "POST", "DELETE"])
_PREFIXES = st.sampled_from(["", "/api/v1", "/api"])


async def _answer(request: Request) -> Response:
    return PlainTextResponse(f"{request.scope['route'].name} {request.path_params}")


@st.composite
def _paths(draw: st.DrawFn) -> str:
    parts = draw(st.lists(_PARTS, min_size=1, max_size=5))
    # A name stands once in an address.
    return draw(_PREFIXES) + "".join(f"/{part.replace('{', f'{{at{at}_')}" for at, part in enumerate(parts))


@st.composite
def _addresses(draw: st.DrawFn) -> str:
    parts = draw(st.lists(st.sampled_from(["", "meters", "lots", "new", "a", "x7", "7", "api", "v1"]), max_size=6))
    return draw(_PREFIXES) + "/" + "/".join(parts)


def _scope(path: str, method: str) -> Scope:
    return {"type": "http", "path": path, "method": method, "root_path": "", "headers": [], "query_string": b""}


def _asked_in_turn(routes: list[BaseRoute], scope: Scope) -> tuple[Match, BaseRoute | None, object]:
    partial = None
    for route in routes:
        match, found = route.matches(scope)
        if match is Match.FULL:
            return match, route, found["path_params"]
        if match is Match.PARTIAL and partial is None:
            partial = match, route, found["path_params"]
    return partial or (Match.NONE, None, None)


@given(
    st.lists(st.tuples(_paths(), _METHODS), max_size=12),
    st.lists(st.tuples(_addresses(), _METHODS), min_size=1, max_size=12),
)
def test_it_finds_what_asking_each_route_in_turn_finds(
    paths: list[tuple[str, str]], asked: list[tuple[str, str]]
) -> None:
    routes: list[BaseRoute] = [Route(path, _answer, methods=[method]) for path, method in paths]
    directory = Directory(routes)
    # The addresses of the routes themselves too: words in braces are values like others.
    for path, method in [*asked, *((path.replace("{", "").replace("}", ""), method) for path, method in paths)]:
        scope = _scope(path, method)
        match, found = directory.matches(scope)
        assert (match, found.get("route"), found.get("path_params")) == _asked_in_turn(routes, scope)


def test_only_routes_that_begin_alike_are_asked() -> None:
    others = [_Counted(f"/{name}/{{id}}", _answer) for name in ("meters", "bills", "units")]
    Directory([*others, Route("/parking/lots", _answer)]).matches(_scope("/parking/lots", "GET"))
    assert [one.asked for one in others] == [0, 0, 0]


def test_what_is_no_route_to_an_address_is_always_asked() -> None:
    mount = Mount("/static", Route("/{name}", _answer))
    match, found = Directory([Route("/meters", _answer), mount]).matches(_scope("/static/app.css", "GET"))
    assert match is Match.FULL
    assert found["route"] is mount


def test_the_route_that_was_found_answers() -> None:
    directory = Directory([Route("/meters/new", _answer, name="form"), Route("/meters/{id}", _answer, name="meter")])
    assert asyncio.run(_told(directory, "/meters/new")) == "form {}"
    assert asyncio.run(_told(directory, "/meters/5")) == "meter {'id': '5'}"


def test_rest_stands_below_its_version_and_is_documented_and_pages_are_neither() -> None:
    rest, room, pages = rest_router("parking"), rest_router("parking"), page_router()
    for router in (room, pages):
        router.get("/lots")(_answer)
    take_in(rest, room)
    (documented,), (page,) = rest.routes, pages.routes
    assert (documented.path, documented.tags, documented.include_in_schema) == ("/api/v1/lots", ["parking"], True)  # type: ignore[attr-defined]
    assert (page.path, page.include_in_schema) == ("/lots", False)  # type: ignore[attr-defined]


class _Counted(Route):
    asked = 0

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        self.asked += 1
        return super().matches(scope)


async def _told(directory: Directory, path: str) -> str:
    scope, sent = _scope(path, "GET"), list[Message]()
    match, found = directory.matches(scope)
    assert match is Match.FULL

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nobody reads a body of this request")

    await directory.handle({**scope, **found}, receive, send)
    body: bytes = sent[-1]["body"]
    return body.decode()
