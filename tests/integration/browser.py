"""A browser without a window: for tests of pages that need no script."""

import secrets
from html.parser import HTMLParser
from typing import Any

import httpx

from cloud.identity.guards import SESSION_COOKIE
from tests.integration.app import Auth

Fields = list[tuple[str, str]]
"""Names and values, in the order in which they are sent."""
_UNSEEN = ("script", "style", "template")


class _Text(HTMLParser):
    """Collects what stands between the tags."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._unseen = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._unseen += tag in _UNSEEN

    def handle_endtag(self, tag: str) -> None:
        self._unseen -= tag in _UNSEEN

    def handle_data(self, data: str) -> None:
        if not self._unseen:
            self.parts.append(data)


def text_of(page: str) -> str:
    """What people read on a page: no tags, entities as their signs, each run of blanks as one.

    A short text is looked for here and never in the whole page: that carries random tokens, and before long one of
    them has any three letters.
    """
    reader = _Text()
    reader.feed(page)
    reader.close()
    return " ".join(" ".join(reader.parts).split())


class _Form(HTMLParser):
    """What a browser would send of the form `editor`, but for its buttons."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: Fields = []
        self.actions: list[str] = []
        self._inside = False
        self._text: str | None = None
        self._select = ""
        self._chosen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self._inside = found.get("id") == "editor" if tag == "form" else self._inside
        if not self._inside:
            return
        name, value = found.get("name", ""), found.get("value", "")
        if tag == "input" and name and (found.get("type") not in ("radio", "checkbox") or "checked" in found):
            self.fields.append((name, value))
        elif tag == "button" and name == "action":
            self.actions.append(value)
        elif tag == "textarea":
            self.fields.append((name, ""))
            self._text = ""
        elif tag == "select":
            self._select, self._chosen = name, []
        elif tag == "option" and self._select and (not self._chosen or "selected" in found):
            self._chosen = [value]

    def handle_data(self, data: str) -> None:
        if self._text is not None:
            self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
        elif tag == "select" and self._select:
            self.fields += [(self._select, value) for value in self._chosen]
            self._select = ""
        elif tag == "textarea" and self._text is not None:
            self.fields[-1] = (self.fields[-1][0], self._text.removeprefix("\n"))
            self._text = None


def form_of(page: str) -> _Form:
    """The form as it stands."""
    form = _Form()
    form.feed(page)
    return form


class Browser:
    """Somebody's browser: his session, and the token that his forms carry."""

    def __init__(self, client: httpx.AsyncClient, auth: Auth) -> None:
        self._client = client
        self._secret = auth["Authorization"].removeprefix("Bearer ")

    async def see(self, address: str) -> str:
        """The text of a page."""
        self._client.cookies.set(SESSION_COOKIE, self._secret)
        answer = await self._client.get(address)
        assert answer.status_code == 200, (address, answer.status_code, answer.text[:2000])
        return answer.text

    async def send(self, address: str, status: int = 303, **fields: Any) -> httpx.Response:
        """Sends a form; `once`: its token, a new one where none is given, as every page that shows it has."""
        self._client.cookies.set(SESSION_COOKIE, self._secret)
        form = {"once": secrets.token_urlsafe(16), **fields, "csrf_token": self._client.cookies["csrf_token"]}
        answer = await self._client.post(address, data=form)
        assert answer.status_code == status, (address, answer.status_code, answer.text[:2000])
        return answer
