"""Asking for messages and waiting readings to be tried again: how many it would be, and the job that does it."""

from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from cloud.devices import inbox
from cloud.devices.records import InboxFilter, InboxSubject
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.jobs import enqueue

REPLAY: Final = "ingest.replay"
"""Job kind: payload is a `Replay`."""


@dataclass(frozen=True, slots=True)
class Replay:
    """What is tried again: at most `limit` of what is `wanted`, the oldest first; None: all of it."""

    subject: InboxSubject
    wanted: InboxFilter
    limit: int | None = None

    def payload(self) -> dict[str, Any]:
        """The same as JSON keeps it."""
        built: dict[str, Any] = msgspec.to_builtins(self)
        return built

    @classmethod
    def of(cls, payload: dict[str, Any]) -> "Replay":
        """Reads what `payload` wrote."""
        return msgspec.convert(payload, cls)


def replay_of(subject: InboxSubject, wanted: InboxFilter, limit: int | None = None) -> Replay:
    """A replay of what waits and is `wanted`. Raises InvalidInput for a limit below 1."""
    if limit is not None and limit < 1:
        raise InvalidInput("bad-limit", "expected 1 or more", field="limit")
    # Readings have states of their own: what is never placed is left out by `take_unclaimed` itself.
    return Replay(subject, replace(wanted, state="waiting" if subject == "dead-letters" else None), limit)


async def count(conn: Conn, replay: Replay) -> dict[str, int]:
    """How many messages or readings would be tried, by reason, whatever the limit."""
    counted = inbox.count_letters if replay.subject == "dead-letters" else inbox.count_to_claim
    return await counted(conn, replay.wanted)


async def ask(conn: Conn, replay: Replay, created_by: int | None = None) -> int:
    """Asks for it to be done and returns the job's id. Asked again while the same is under way, it is that job's."""
    payload = replay.payload()
    key = msgspec.json.encode(payload, order="sorted").decode()
    return await enqueue(
        conn, REPLAY, payload, project_id=replay.wanted.project_id, dedupe_key=key, created_by=created_by
    )
