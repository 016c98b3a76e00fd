"""A form that is sent twice is done once: its token, and where it led."""

import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

import orjson
from fastapi import Depends, Request
from pydantic import BaseModel
from starlette.responses import RedirectResponse, Response

from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.idempotency import OnceOnly
from cloud.kit.pages import CSRF_FIELD, ONCE_FIELD


class _Led(BaseModel):
    """What is kept of a form that was sent: where it led."""

    to: str


@dataclass(frozen=True, slots=True)
class SentForm:
    """A form as it was sent: its token, new on every page that shows it, and what it said."""

    token: str
    said: bytes

    async def lead(self, conn: Conn, make: Callable[[], Awaitable[str]]) -> RedirectResponse:
        """To where `make` says; the same form sent again leads there again, and `make` is not called.

        Raises what `make` does: then nothing is kept of it, and it may be sent again. Raises Conflict when another form
        came with the same token.
        """

        async def made() -> _Led:
            return _Led(to=await make())

        async with conn.transaction():
            led = await OnceOnly(f"page:{self.token}", self.said, Response()).answer(conn, _Led, made)
        return RedirectResponse(led.to, 303)


async def sent_form(request: Request) -> SentForm:
    """The dependency of every page that makes something. Raises InvalidInput for a form without its token."""
    form = await request.form()
    token = form.get(ONCE_FIELD)
    if not isinstance(token, str) or not 8 <= len(token) <= 100:
        raise InvalidInput("no-form-token", "this form came without its token: load the page again", field=ONCE_FIELD)
    said = [
        [name, value if isinstance(value, str) else value.filename]
        for name, value in form.multi_items()
        if name not in (CSRF_FIELD, ONCE_FIELD)
    ]
    return SentForm(token, hashlib.sha256(request.url.path.encode() + b"\n" + orjson.dumps(said)).digest())


FormOnce = Annotated[SentForm, Depends(sent_form)]
"""Parameter of a page that makes something: `return await sent.lead(scope.conn, make)`."""
