"""Finding the route of an address, among all of the application: beside asking each of them in turn.

Every route is asked for once, with sevens for what an address names. No database, no socket: what is timed comes
before each answer.
"""

import re
import time
from collections.abc import Callable, Sequence
from typing import Final

from starlette.routing import BaseRoute, Match, Route
from starlette.types import Scope

from cloud.kit.routing import Directory, routes_of
from tests.benchmarks.measure import Bound, Measure
from tests.integration.app import assembled

_ROUNDS: Final = 20


def run() -> list[Measure | Bound]:
    """Addresses a second; both must find the same."""
    routes = routes_of(assembled())
    directory = Directory(routes)
    asked = [
        (re.sub(r"\{[^}]+\}", "7", route.path), method)
        for route in routes
        if isinstance(route, Route)
        for method in route.methods or ()
    ]
    for path, method in asked:
        if directory.matches(_scope(path, method))[1]["route"] is not _in_turn(routes, _scope(path, method)):
            raise AssertionError(f"{method} {path} is found elsewhere")
    return [
        Measure(
            f"an address among {len(routes)} routes",
            _rate(directory.matches, asked),
            "each route asked in turn",
            _rate(lambda scope: _in_turn(routes, scope), asked),
            "addresses",
        )
    ]


def _scope(path: str, method: str) -> Scope:
    return {"type": "http", "path": path, "method": method, "root_path": ""}


def _in_turn(routes: Sequence[BaseRoute], scope: Scope) -> BaseRoute | None:
    return next((route for route in routes if route.matches(scope)[0] is Match.FULL), None)


def _rate(find: Callable[[Scope], object], asked: Sequence[tuple[str, str]]) -> float:
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        for path, method in asked:
            find(_scope(path, method))
    return _ROUNDS * len(asked) / (time.perf_counter() - began)
