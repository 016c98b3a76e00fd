"""A repeated creating request gets the first answer again: header Idempotency-Key, kept in the same transaction."""

import hmac
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated, LiteralString, TypeVar

import orjson
from fastapi import Depends, Header, Request, Response
from psycopg.types.json import Jsonb
from pydantic import BaseModel

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict
from cloud.kit.security import Keys

Answer = TypeVar("Answer", bound=BaseModel)

REPLAYED_HEADER = "Idempotency-Replayed"

_PART = 1024 * 1024
"""Bytes of an uploaded file that are in memory at once."""

# A request with the same key that is under way holds its row: this waits for its end.
_TAKE: LiteralString = """
    INSERT INTO idempotency_key (user_id, key, request_hash) VALUES (gm.user_id(), %(key)s, %(hash)s)
    ON CONFLICT DO NOTHING RETURNING key
"""
_EARLIER: LiteralString = (
    "SELECT request_hash, answer FROM idempotency_key WHERE user_id = gm.user_id() AND key = %(key)s"
)
_KEEP: LiteralString = """
    UPDATE idempotency_key SET status = %(status)s, answer = %(answer)s WHERE user_id = gm.user_id() AND key = %(key)s
"""


@dataclass(frozen=True, slots=True)
class OnceOnly:
    """The key of one request and what it asked."""

    key: str
    request_hash: bytes
    response: Response

    async def answer(self, conn: Conn, model: type[Answer], make: Callable[[], Awaitable[Answer]]) -> Answer:
        """What `make` returns; on a repetition the kept answer, and `make` is not called.

        Raises Conflict when the key came with another request before. When `make` fails nothing is kept, so that the
        request can be repeated.
        """
        query = {"key": self.key, "hash": self.request_hash}
        if await (await conn.execute(_TAKE, query)).fetchone() is None:
            return await self._earlier(conn, model)
        made = await make()
        await conn.execute(_KEEP, {**query, "status": 201, "answer": Jsonb(made.model_dump(mode="json"))})
        return made

    async def _earlier(self, conn: Conn, model: type[Answer]) -> Answer:
        row = await (await conn.execute(_EARLIER, {"key": self.key})).fetchone()
        if row is None or bytes(row["request_hash"]) != self.request_hash:
            raise Conflict("key-reused", "this Idempotency-Key came with another request before")
        self.response.headers[REPLAYED_HEADER] = "true"
        return model.model_validate(row["answer"])


async def _once_only(
    request: Request,
    response: Response,
    idempotency_key: Annotated[
        str,
        Header(min_length=8, max_length=200, description="Random, new for every intention; the same when repeating."),
    ],
) -> OnceOnly:
    # Keyed: bodies hold passwords and phone numbers, which a plain hash in the database would let anybody try out.
    keys: Keys = request.app.state.keys
    asked = hmac.new(keys.blind_index, digestmod="sha256")
    asked.update(f"request:{request.method} {request.url.path}?{request.url.query}\n".encode())
    if request.headers.get("Content-Type", "").startswith("multipart/form-data"):
        await _hash_form(request, asked)
    else:
        asked.update(await request.body())
    return OnceOnly(idempotency_key, asked.digest(), response)


async def _hash_form(request: Request, asked: hmac.HMAC) -> None:
    """The fields of a form that is parsed already: its body is gone, and its boundary is another one each time."""
    for name, value in (await request.form()).multi_items():
        if isinstance(value, str):
            asked.update(orjson.dumps([name, value]))
            continue
        asked.update(orjson.dumps([name, value.filename, value.size]))
        await value.seek(0)
        while part := await value.read(_PART):
            asked.update(part)
        await value.seek(0)


Once = Annotated[OnceOnly, Depends(_once_only)]
"""Parameter of a creating route: `return await once.answer(scope.conn, BuildingOut, make)`."""
