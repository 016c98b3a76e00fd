"""Every route states who may use it, and every creating route of the API takes an Idempotency-Key."""

from collections.abc import Iterator

import httpx
import pytest
from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute, RouteContext, iter_route_contexts
from starlette.routing import Mount, Route

from cloud.identity.guards import stated_access
from cloud.identity.policy import PERMISSIONS
from cloud.kit.pages import check_csrf
from cloud.kit.routing import Directory, routes_of
from tests.integration.app import assembled

# Signing in makes a new token each time: repeating it is not making the same thing twice. A search makes nothing.
# A provider sends its own key: what it tells twice is kept once.
NOT_IDEMPOTENT = {"/api/v1/tokens", "/api/v1/people-searches", "/api/v1/payment-callbacks/{channel}"}


def routes(app: FastAPI) -> list[RouteContext]:
    """All routes of ours, as included in the application."""
    return [route for route in iter_route_contexts(routes_of(app)) if isinstance(route.original_route, APIRoute)]


def path_of(route: RouteContext) -> str:
    """The path with its parameters in braces."""
    assert route.path is not None
    return route.path


def methods_of(route: RouteContext) -> list[str]:
    """Its methods."""
    return sorted(route.methods or ())


def _dependencies(dependant: Dependant) -> Iterator[Dependant]:
    for dependency in dependant.dependencies:
        yield dependency
        yield from _dependencies(dependency)


def stated(route: RouteContext) -> set[str]:
    """What the guards of the route say."""
    found = (stated_access(dependency.call) for dependency in _dependencies(route.dependant))
    return {access for access in found if access is not None}


@pytest.fixture
def unstarted() -> FastAPI:
    """The application without a database: what its routes say."""
    return assembled()


def test_every_route_states_a_permission_or_that_it_is_public(unstarted: FastAPI) -> None:
    silent = [
        (route.path, methods_of(route), stated(route))
        for route in routes(unstarted)
        if len(stated(route)) != 1 or not stated(route) <= PERMISSIONS | {"public"}
    ]
    assert silent == []
    assert len(routes(unstarted)) > 20


def test_no_router_stands_on_another_floor(unstarted: FastAPI) -> None:
    """FastAPI's `include_router` asks each of its routes on each floor, for each request."""
    assert {type(one) for one in unstarted.routes} == {Route, Directory, Mount}
    assert {type(one) for one in routes_of(unstarted)} == {Route, APIRoute, Mount}


def test_every_form_of_a_page_proves_that_it_came_from_one(unstarted: FastAPI) -> None:
    forms = [
        route for route in routes(unstarted) if not path_of(route).startswith("/api/") and methods_of(route) != ["GET"]
    ]
    without = [path_of(one) for one in forms if check_csrf not in [each.call for each in _dependencies(one.dependant)]]
    assert without == []
    assert len(forms) > 100


def test_every_creating_route_of_the_api_takes_an_idempotency_key(unstarted: FastAPI) -> None:
    creating = [
        route
        for route in routes(unstarted)
        if "POST" in methods_of(route) and path_of(route).startswith("/api/") and route.path not in NOT_IDEMPOTENT
    ]
    without = [route.path for route in creating if "idempotency-key" not in _headers(route)]
    assert without == []
    assert creating


def _headers(route: RouteContext) -> set[str]:
    return {field.alias.lower() for dependency in _dependencies(route.dependant) for field in dependency.header_params}


async def test_nothing_of_the_api_answers_a_stranger(app: FastAPI, app_client: httpx.AsyncClient) -> None:
    guarded = [route for route in routes(app) if stated(route) != {"public"} and path_of(route).startswith("/api/")]
    assert guarded
    for route in guarded:
        path = path_of(route)
        for name in route.param_convertors:
            path = path.replace("{" + name + "}", "1")
        for method in methods_of(route):
            answer = await app_client.request(method, path, headers={"Idempotency-Key": "a" * 16})
            assert answer.status_code in (401, 422), (method, path, answer.text)
            assert answer.headers["Content-Type"] == "application/problem+json"


async def test_every_page_leads_a_stranger_to_the_sign_in(app: FastAPI, app_client: httpx.AsyncClient) -> None:
    pages = [
        route
        for route in routes(app)
        if stated(route) != {"public"} and not path_of(route).startswith("/api/") and "GET" in methods_of(route)
    ]
    for route in pages:
        path = path_of(route)
        for name in route.param_convertors:
            path = path.replace("{" + name + "}", "1")
        answer = await app_client.get(path)
        assert (answer.status_code, answer.headers["Location"].split("?")[0]) == (303, "/login"), path


async def test_every_changing_page_refuses_a_form_from_elsewhere(app: FastAPI, app_client: httpx.AsyncClient) -> None:
    changing = [
        (method, route)
        for route in routes(app)
        for method in methods_of(route)
        if not path_of(route).startswith("/api/") and method not in ("GET", "HEAD", "OPTIONS")
    ]
    assert changing
    for method, route in changing:
        path = path_of(route)
        for name in route.param_convertors:
            path = path.replace("{" + name + "}", "1")
        answer = await app_client.request(method, path, data={"csrf_token": "guessed"})
        assert answer.status_code == 403, (method, path)


def test_the_document_states_permissions_and_its_examples_are_what_the_routes_take(unstarted: FastAPI) -> None:
    document = unstarted.openapi()
    assert set(document["components"]["securitySchemes"]) == {"HTTPBearer", "SessionCookie"}
    checked = 0
    for route in routes(unstarted):
        path = path_of(route)
        if not path.startswith("/api/"):
            continue
        for method in methods_of(route):
            operation = document["paths"][path][method.lower()]
            assert {operation.get("x-permission", "public")} == stated(route)
            if "application/json" in operation.get("requestBody", {}).get("content", {}):
                (body,) = route.dependant.body_params
                example = operation["requestBody"]["content"]["application/json"]["example"]
                _, errors = body.validate(example, {}, loc=("body",))
                assert not errors, (path, example, errors)
                checked += 1
            answers = [answer for status, answer in operation["responses"].items() if status in ("200", "201", "202")]
            for kind, content in (one for answer in answers for one in answer["content"].items()):
                is_file = content.get("schema") == {"type": "string", "format": "binary"}
                assert is_file or "example" in content, (path, kind)
    assert checked > 15
