"""Routers of the rooms, and how the application finds the route that an address is for.

A feature's routes stand in one list. FastAPI's own way of including routers asks each router on the way for each of
its routes, and those that it finds once more on every floor: with eight hundred routes and three floors that took
longer than most answers do (2 to 4 ms), and made everything that a route takes twice when a process starts.
"""

from collections.abc import Iterable, Sequence
from typing import Final

from fastapi import APIRouter, Depends, FastAPI
from fastapi.params import Depends as Dependency
from starlette.routing import BaseRoute, Match, Route
from starlette.types import Receive, Scope, Send

from cloud.kit import problems
from cloud.kit.pages import check_csrf

_API: Final = "/api/v1"
_PROBLEM: Final = {"content": {problems.MEDIA_TYPE: {"schema": problems.PROBLEM_SCHEMA}}}

Beginning = tuple[str, ...]
"""The first parts of an address, at most four: `/api/v1/parking/lots` tells rooms apart."""
_PARTS: Final = 4


def rest_router(*tags: str) -> APIRouter:
    """A router of REST below `/api/v1`; `tags` are the headings of the document under which its routes stand."""
    return APIRouter(
        prefix=_API,
        tags=list(tags),
        responses={
            "4XX": {"description": "What is wrong with the request.", **_PROBLEM},
            422: {"description": "Invalid input; `errors` names the fields.", **_PROBLEM},
        },
    )


def page_router(*dependencies: Dependency) -> APIRouter:
    """A router of pages. Every form of every page proves that it came from a page of ours."""
    return APIRouter(include_in_schema=False, dependencies=[Depends(check_csrf), *dependencies])


def take_in(router: APIRouter, *rooms: APIRouter) -> None:
    """Adds the routes of `rooms` to those that `router` has by now. Of two for one address the first is asked."""
    for room in rooms:
        router.routes.extend(room.routes)


class Directory(BaseRoute):
    """Many routes, of which only those are asked whose addresses begin like the one that is looked for."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        self.routes: Sequence[BaseRoute] = tuple(routes)
        fixed = [(_fixed(route), route) for route in self.routes]
        self._by_beginning = {
            beginning: tuple(route for start, route in fixed if start == beginning[: len(start)])
            for beginning in {(), *(start for start, _ in fixed)}
        }

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        """As the first of the routes that knows address and method, else as the first that knows the address."""
        partial: Scope | None = None
        for route in self._candidates(scope["path"]):
            match, found = route.matches(scope)
            if match is Match.FULL:
                return match, {**found, "route": route}
            if match is Match.PARTIAL and partial is None:
                partial = {**found, "route": route}
        return (Match.NONE, {}) if partial is None else (Match.PARTIAL, partial)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """By the route that matched."""
        route: BaseRoute = scope["route"]
        await route.handle(scope, receive, send)

    def _candidates(self, path: str) -> tuple[BaseRoute, ...]:
        beginning = _beginning(path)
        while beginning not in self._by_beginning:
            beginning = beginning[:-1]
        return self._by_beginning[beginning]


def routes_of(app: FastAPI) -> list[BaseRoute]:
    """All routes of the application, those of its directories one by one."""
    return [one for route in app.routes for one in (route.routes if isinstance(route, Directory) else (route,))]


def _fixed(route: BaseRoute) -> Beginning:
    """The parts with which every address of the route begins; none for what is no route to an address."""
    if not isinstance(route, Route):
        return ()
    return _beginning(route.path.partition("{")[0].rpartition("/")[0] if "{" in route.path else route.path)


def _beginning(path: str) -> Beginning:
    return tuple(path.split("/", _PARTS + 1)[1 : _PARTS + 1])
