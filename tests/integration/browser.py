"""A browser without a window: for tests of pages that need no script."""

import secrets
from typing import Any

import httpx

from cloud.identity.guards import SESSION_COOKIE
from tests.integration.app import Auth


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
