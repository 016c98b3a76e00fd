"""A receiver of webhooks on a socket of its own: what it got, and a behaviour for each test."""

import asyncio
import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Received:
    """One request."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def content(self) -> dict[str, Any]:
        """The body, decoded."""
        found: dict[str, Any] = json.loads(self.body)
        return found

    def is_signed_with(self, secret: str) -> bool:
        """Checks the signature as a receiver would, in its own words."""
        key = base64.b64decode(secret[len("whsec_") :])
        text = (
            self.headers["webhook-id"].encode() + b"." + self.headers["webhook-timestamp"].encode() + b"." + self.body
        )
        expected = base64.b64encode(hmac.new(key, text, hashlib.sha256).digest()).decode()
        return f"v1,{expected}" in self.headers["webhook-signature"].split(" ")


def answering(line: str, *headers: str) -> Behaviour:
    """Answers every request with this status."""

    async def answer(writer: asyncio.StreamWriter) -> None:
        head = [f"HTTP/1.1 {line}", "Content-Length: 0", *headers, "", ""]
        writer.write("\r\n".join(head).encode())
        await writer.drain()

    return answer


async def closing(writer: asyncio.StreamWriter) -> None:
    """Closes without an answer."""
    writer.close()


async def silent(writer: asyncio.StreamWriter) -> None:
    """Never answers."""
    await writer.wait_closed()


@dataclass
class Receiver:
    """What it got, in order."""

    url: str = ""
    behaviour: Behaviour = field(default_factory=lambda: answering("204 No Content"))
    received: list[Received] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while head := (await reader.readuntil(b"\r\n\r\n")).decode():
                first, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers["content-length"]))
                self.received.append(Received(first.split(" ")[1], headers, body))
                await self.behaviour(writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


@asynccontextmanager
async def receiving() -> AsyncIterator[Receiver]:
    """A running receiver."""
    found = Receiver()
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook"
    try:
        yield found
    finally:
        server.close()
