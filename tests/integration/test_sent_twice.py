"""Whatever makes something about money is made once, however often it is sent: all routes are walked."""

import ast
import inspect
import re
import textwrap
from pathlib import Path
from types import ModuleType
from typing import get_args

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, RouteContext

from cloud import web
from cloud.app import create_app
from cloud.kit import idempotency, sent_forms
from cloud.kit.db import SYSTEM
from cloud.kit.security import Keys
from cloud.settings import load_settings
from tests.integration.app import People
from tests.integration.browser import Browser
from tests.integration.test_routes import NOT_IDEMPOTENT, _dependencies, methods_of, path_of, routes

ROOMS = ("cloud.billing", "cloud.prepaid", "cloud.payments", "cloud.notices", "cloud.webhooks")
"""Pages of these are walked; pages of meters, devices and parking keep things that the database allows once."""

# They make nothing: a second time finds what the first has done, and says so or changes nothing.
DECIDES = {
    *("/notices/repetitions", "/notices/{notice_id}/repetitions"),
    *("/concessions/{concession_id}/approve", "/concessions/{concession_id}/end"),
    "/concessions/{concession_id}/withdraw",
    *("/agreements/{agreement_id}/end", "/agreements/{agreement_id}/take-back", "/agreements/{agreement_id}/withdraw"),
    *("/ledger/months", "/ledger/months/{month_id}/reopen"),
    *("/bill-disputes/{dispute_id}/withdraw", "/bill-disputes/{dispute_id}/decide"),
    "/late-fee-waivers/{waiver_id}/decide",
    *("/instalment-plans/{plan_id}/decide", "/instalment-plans/{plan_id}/reinstate"),
    "/instalment-plans/{plan_id}/cancel",
    *("/notes/{note_id}/approve", "/notes/{note_id}/refuse"),
    *("/bill-runs/{run_id}/approve", "/bill-runs/{run_id}/cancel", "/bill-runs/{run_id}/leave-out"),
    *("/supply-cases/{case_id}/confirm", "/supply-cases/{case_id}/decide"),
    *("/releases/{release_id}/decide", "/my/payments/{intent_id}/cancel"),
    *("/payment-callbacks/{callback_id}/settle", "/provider-differences/{difference_id}/settle"),
    "/payment-refunds/{refund_id}/decide",
    *("/webhooks/{webhook_id}/state", "/webhooks/{webhook_id}/deletion"),
}
# They say how something is from now on, or from a day on: twice the same is the same.
SETS = {
    *("/notices/settings", "/my/notices", "/ledger/accounts", "/payment-terms", "/prepaid/settings"),
    *("/prepaid/accounts/{account_id}/agreements", "/prepaid/accounts/{account_id}/terms"),
    "/accounts/{account_id}/auto-deduct",
    *("/agreements/{agreement_id}/rent", "/agreements/{agreement_id}/tax", "/agreements/{agreement_id}/area"),
}
SHOWS = {"/payment-terms/example"}

_ONCE = get_args(idempotency.Once)[1].dependency
TEMPLATES = Path(str(web.__file__)).parent / "templates"


@pytest.fixture
def unstarted(keys: Keys) -> FastAPI:
    """The application without a database: what its routes say."""
    return create_app(load_settings(database_dsn="host=nowhere", keys_file="unused"), keys)


def _endpoint(route: RouteContext) -> tuple[ModuleType | None, str]:
    assert isinstance(route.original_route, APIRoute)
    endpoint = route.original_route.endpoint
    return inspect.getmodule(endpoint), textwrap.dedent(inspect.getsource(endpoint))


def _calls(source: str, parameter: str, method: str) -> bool:
    """Whether the function uses what it was given: `parameter.method(...)`."""
    return any(
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr == method
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == parameter
        for node in ast.walk(ast.parse(source))
    )


def _pages(app: FastAPI) -> list[RouteContext]:
    return [
        route
        for route in routes(app)
        if "POST" in methods_of(route)
        and not path_of(route).startswith("/api/")
        and (_endpoint(route)[0] or ast).__name__.startswith(ROOMS)
    ]


def test_every_page_that_makes_something_is_sent_once(unstarted: FastAPI) -> None:
    known = DECIDES | SETS | SHOWS
    pages = _pages(unstarted)
    once = {
        path_of(route)
        for route in pages
        if any(one.call is sent_forms.sent_form for one in _dependencies(route.dependant))
        and _calls(_endpoint(route)[1], "sent", "lead")
    }
    assert {path_of(route) for route in pages} - once - known == set()
    assert known - {path_of(route) for route in pages} == set(), "routes that are gone, or no pages of these rooms"
    assert once & known == set()
    assert {"/bills/{bill_id}/notes", "/concessions/new", "/ledger/vouchers", "/my/pay"} <= once


def test_every_creating_route_of_the_api_keeps_its_answer(unstarted: FastAPI) -> None:
    """That it takes the key says nothing yet: it must ask whether it has answered before."""
    creating = [
        route
        for route in routes(unstarted)
        if "POST" in methods_of(route) and path_of(route).startswith("/api/") and path_of(route) not in NOT_IDEMPOTENT
    ]
    careless = [
        path_of(route)
        for route in creating
        if not any(one.call is _ONCE for one in _dependencies(route.dependant))
        or "once" not in _names_passed(_endpoint(route)[1])
    ]
    assert careless == []
    assert len(creating) > 50


def _names_passed(source: str) -> set[str]:
    """Names that a function uses, its own parameters aside where it does nothing with them."""
    return {node.id for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Name)}


def test_every_form_that_changes_something_carries_its_tokens() -> None:
    form = re.compile(r"<form\b[^>]*>.*?</form>", re.S)
    bare = [
        (str(template.relative_to(TEMPLATES)), found.group()[:120])
        for template in TEMPLATES.rglob("*.html")
        for found in form.finditer(template.read_text())
        if re.search(r'method="post"', found.group(), re.I) and not re.search(r"\bcsrf\(", found.group())
    ]
    assert bare == []


async def test_a_form_that_is_sent_twice_is_done_once(app_client: httpx.AsyncClient, people: People) -> None:
    project = await people.project()
    browser = Browser(app_client, await people.staff("admin", project.id))
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    page = await browser.see("/ledger/proofs")
    (token,) = set(re.findall(r'name="once" value="([^"]+)"', page)[:1])
    first = await browser.send("/ledger/proofs", once=token)
    second = await browser.send("/ledger/proofs", once=token)
    assert first.headers["Location"] == second.headers["Location"]
    page = await browser.see("/ledger/proofs")
    assert page.count("<tr") - page.count("<thead") == 1
    await browser.send("/ledger/proofs", 409, once=token, other="x")
    await browser.send("/ledger/proofs", 422, once="")
    await browser.send("/ledger/proofs")
