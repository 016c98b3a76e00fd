"""How HTML pages are made: rendering in the reader's language, and protection of forms against forgery."""

import base64
import binascii
import hmac
import secrets
from typing import Any, Protocol

from fastapi import Request
from jinja2 import Environment
from starlette.responses import HTMLResponse, Response

from cloud.kit import i18n
from cloud.kit.errors import Forbidden

CSRF_FIELD = "csrf_token"
ONCE_FIELD = "once"
"""Of every form: a token that no other has, so that the form is done once however often it is sent."""
CSRF_HEADER = "X-CSRF-Token"
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_CSRF_CHARS = 43  # 32 random bytes in URL-safe base64


class Reader(Protocol):
    """What a page needs to know of who reads it."""

    @property
    def locale(self) -> str:
        """Tag of the language the user chose."""


def prepare(environment: Environment) -> None:
    """Gives the templates our gettext and the filters `date`, `month`, `time`, `number`, `money`."""
    environment.add_extension("jinja2.ext.i18n")
    environment.install_gettext_callables(  # type: ignore[attr-defined]  # added by the extension
        i18n.gettext, i18n.ngettext, newstyle=True
    )
    environment.globals.update(once_token=lambda: secrets.token_urlsafe(16))
    environment.filters.update(
        date=i18n.show_date,
        month=i18n.show_month,
        time=i18n.show_time,
        number=i18n.show_number,
        money=i18n.show_money,
        language_name=i18n.language_name,
    )


def is_page(request: Request) -> bool:
    """Whether the asker expects HTML: everything outside /api."""
    return not request.url.path.startswith("/api/")


def cookie_name(request: Request, name: str) -> str:
    """`name`, with the prefix that binds it to this host when cookies are only sent over TLS."""
    return f"__Host-{name}" if request.app.state.settings.secure_cookies else name


def set_cookie(request: Request, response: Response, name: str, value: str, *, max_age_s: int | None = None) -> None:
    """Sets one of our cookies: HttpOnly, SameSite=Lax, Secure unless switched off for plain HTTP."""
    response.set_cookie(
        cookie_name(request, name),
        value,
        max_age=max_age_s,
        path="/",
        secure=request.app.state.settings.secure_cookies,
        httponly=True,
        samesite="lax",
    )


def translator_of(request: Request, caller: Reader | None = None) -> i18n.Translator:
    """The language for this request: the user's, else his cookie's, else his browser's."""
    catalogues: dict[str, i18n.Translator] = request.app.state.catalogues
    tag = i18n.negotiate(
        catalogues,
        caller.locale if caller else None,
        request.cookies.get(i18n.COOKIE),
        accept_language=request.headers.get("Accept-Language", ""),
    )
    return i18n.translator(catalogues, tag)


def render(
    request: Request,
    template: str,
    caller: Reader | None = None,
    status: int = 200,
    **context: Any,
) -> HTMLResponse:
    """The page `template` with `context`, and always: request, caller, locale, locales, csrf_token, status."""
    environment: Environment = request.app.state.templates
    csrf_token = csrf_token_of(request)
    with i18n.speaking(translator_of(request, caller)) as translator:
        html = environment.get_template(template).render(
            request=request,
            caller=caller,
            locale=translator.tag,
            locales=sorted(request.app.state.catalogues),
            csrf_token=_masked(csrf_token),
            status=status,
            **context,
        )
    response = HTMLResponse(html, status, {"Cache-Control": "no-store", "Content-Language": translator.tag})
    if request.cookies.get(cookie_name(request, CSRF_FIELD)) != csrf_token:
        set_cookie(request, response, CSRF_FIELD, csrf_token)
    return response


def csrf_token_of(request: Request) -> str:
    """The token that forms of this browser must send back; a new one when it has none."""
    known = request.cookies.get(cookie_name(request, CSRF_FIELD), "")
    if len(known) == _CSRF_CHARS and known.isascii():
        return known
    if not hasattr(request.state, CSRF_FIELD):
        setattr(request.state, CSRF_FIELD, secrets.token_urlsafe(32))
    fresh: str = getattr(request.state, CSRF_FIELD)
    return fresh


def _masked(token: str) -> str:
    """The token under a fresh pad: from lengths of compressed pages that repeat input nobody can guess it (BREACH)."""
    pad = secrets.token_bytes(_CSRF_CHARS)
    return base64.urlsafe_b64encode(pad + _xor(pad, token.encode())).decode().rstrip("=")


def _unmasked(given: str) -> str:
    try:
        raw = base64.urlsafe_b64decode(given.encode() + b"=" * (-len(given) % 4))
    except (binascii.Error, UnicodeError):
        return ""
    return _xor(raw[:_CSRF_CHARS], raw[_CSRF_CHARS:]).decode("latin-1") if len(raw) == 2 * _CSRF_CHARS else ""


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(one ^ other for one, other in zip(left, right, strict=True))


async def check_csrf(request: Request) -> None:
    """Refuses a change that does not repeat the browser's token in a header or form field (double submit).

    Another site can make a browser send our cookies, but can neither read them nor set the header. Raises Forbidden.
    """
    if request.method in _SAFE_METHODS:
        return
    expected = request.cookies.get(cookie_name(request, CSRF_FIELD), "")
    given = request.headers.get(CSRF_HEADER, "")
    if not given and request.headers.get("Content-Type", "").startswith(
        ("application/x-www-form-urlencoded", "multipart/form-data")
    ):
        given = str((await request.form()).get(CSRF_FIELD, ""))
    # A program that reads the cookie may send it as it is; pages send it masked.
    plain = given if len(given) == _CSRF_CHARS else _unmasked(given)
    if len(expected) != _CSRF_CHARS or not hmac.compare_digest(expected.encode(), plain.encode()):
        raise Forbidden("csrf", "This form is too old or came from elsewhere: load the page again.")
