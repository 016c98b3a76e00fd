"""Pages of signing in and out, and the switch of the language."""

from datetime import timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import Form, Request
from starlette.responses import RedirectResponse, Response

from cloud.identity import service
from cloud.identity.guards import SESSION_COOKIE, public
from cloud.identity.sign_in import Attempt, sign_in
from cloud.kit import i18n
from cloud.kit.db import SIGN_IN, Database
from cloud.kit.errors import TooManyRequests, Unauthenticated
from cloud.kit.pages import cookie_name, render, set_cookie
from cloud.kit.routing import page_router
from cloud.kit.security import token_hash

router = page_router()

_YEAR_S = 365 * 24 * 3600


@router.get("/login", dependencies=[public()])
async def login_page(request: Request, next: str = "/") -> Response:  # noqa: A002 - the query parameter's name
    """The sign-in form."""
    return render(request, "identity/login.html", next=_own_path(next), error=None, login="")


@router.post("/login", dependencies=[public()])
async def login(
    request: Request,
    login: Annotated[str, Form(max_length=100)] = "",
    password: Annotated[str, Form(max_length=200)] = "",
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the field's name
) -> Response:
    """Checks the form, and leads to where the visitor wanted to go."""
    state = request.app.state
    attempt = Attempt(login.strip(), password, request.client.host if request.client else "", request.state.request_id)
    lifetime = timedelta(hours=state.settings.session_hours)
    try:
        token = await sign_in(state.db, state.throttle, attempt, "session", "browser", lifetime)
    except (Unauthenticated, TooManyRequests) as error:
        return render(
            request,
            "identity/login.html",
            status=error.status,
            next=_own_path(next),
            error=error.code,
            login=attempt.login,
        )
    answer = RedirectResponse(_own_path(next), HTTPStatus.SEE_OTHER)
    set_cookie(request, answer, SESSION_COOKIE, token.secret, max_age_s=int(lifetime.total_seconds()))
    return answer


@router.post("/logout", dependencies=[public()])
async def logout(request: Request) -> Response:
    """Ends the session, here and in the database."""
    secret = request.cookies.get(cookie_name(request, SESSION_COOKIE))
    if secret:
        db: Database = request.app.state.db
        async with db.transaction(SIGN_IN.named(request.state.request_id)) as conn:
            await service.end_session(conn, token_hash(secret))
    answer = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
    set_cookie(request, answer, SESSION_COOKIE, "", max_age_s=0)
    return answer


@router.post("/locale", dependencies=[public()])
async def choose_language(
    request: Request,
    locale: Annotated[str, Form(max_length=20)],
    next: Annotated[str, Form(max_length=2000)] = "/",  # noqa: A002 - the field's name
) -> Response:
    """Keeps the language in a cookie, and for a signed-in user in his record."""
    tag = i18n.negotiate(request.app.state.catalogues, locale)
    secret = request.cookies.get(cookie_name(request, SESSION_COOKIE))
    if secret:
        db: Database = request.app.state.db
        async with db.transaction(SIGN_IN.named(request.state.request_id)) as conn:
            await service.set_locale_of_session(conn, token_hash(secret), tag)
    answer = RedirectResponse(_own_path(next), HTTPStatus.SEE_OTHER)
    answer.set_cookie(i18n.COOKIE, tag, max_age=_YEAR_S, samesite="lax", path="/")
    return answer


def _own_path(address: str) -> str:
    """`address` when it is a path of ours, else the start page: a link must not lead to another site."""
    unsafe = not address.startswith("/") or address.startswith(("//", "/\\", "/login")) or not address.isprintable()
    return "/" if unsafe or "\\" in address else address
