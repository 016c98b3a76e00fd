"""Dead letters and unclaimed readings tried again: after a correction of this software, a registration, a binding."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace

from cloud.devices import replays
from cloud.devices import service as devices
from cloud.devices.inbox import Letter
from cloud.devices.replays import Replay
from cloud.estate import service as estate
from cloud.ingest.messages import Incoming, now_ms, read
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Asker, Conn, Database
from cloud.metering.readings.claiming import claim_project

_AT_ONCE = 100
_ASKER = SYSTEM.named("replay")

Progress = Callable[[int], Awaitable[None]]
"""Hears how many were tried so far."""


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many letters or readings found their place, and how many did not."""

    stored: int
    kept: int


async def nobody_watches(tried: int) -> None:
    """The progress of a replay that nobody watches."""


async def count(db: Database, replay: Replay) -> dict[str, int]:
    """How many it would be, by reason."""
    async with db.transaction(_ASKER) as conn:
        return await replays.count(conn, replay)


async def run(db: Database, replay: Replay, progress: Progress = nobody_watches, asker: Asker = _ASKER) -> Replayed:
    """Stores all that can be stored now. May be repeated and may end anywhere: what is stored twice is stored once."""
    if replay.subject == "dead-letters":
        return await _letters(db, replay, progress, asker)
    return await _readings(db, replay, progress, asker)


async def _letters(db: Database, replay: Replay, progress: Progress, asker: Asker) -> Replayed:
    """No acknowledgement follows: a rejected batch was answered."""
    stored = kept = after = 0
    while replay.limit is None or stored + kept < replay.limit:
        at_once = _AT_ONCE if replay.limit is None else min(_AT_ONCE, replay.limit - stored - kept)
        async with db.transaction(asker) as conn:
            letters = await devices.dead_letters_to_replay(conn, replay.wanted, after, at_once)
        if not letters:
            break
        for letter_id, topic, payload in letters:
            if await _letter(db, letter_id, topic, payload, asker):
                stored += 1
            else:
                kept += 1
        after = letters[-1][0]
        await progress(stored + kept)
    return Replayed(stored, kept)


async def _letter(db: Database, letter_id: int, topic: str, payload: bytes, asker: Asker) -> bool:
    async def note(conn: Conn, refused: Sequence[Letter]) -> None:
        """A letter that is refused again did not come again: it is neither counted nor kept a second time."""
        for letter in refused:
            await devices.note_tried(conn, letter_id, letter)

    message = read(topic, payload, now_ms())
    answers = await Writer(db, keep=note).store([message])
    if not (isinstance(message, Incoming) and answers.accepted):
        return False
    async with db.transaction(asker) as conn:
        await devices.mark_replayed(conn, letter_id)
    return True


async def _readings(db: Database, replay: Replay, progress: Progress, asker: Asker) -> Replayed:
    async with db.transaction(asker) as conn:
        projects = [project.id for project in await estate.projects(conn)]
    tried = placed = 0
    for project_id in projects:
        if replay.wanted.project_id not in (None, project_id):
            continue
        rest = None if replay.limit is None else replay.limit - tried
        before = tried

        async def told(of_project: int, before: int = before) -> None:
            await progress(before + of_project)

        done = await claim_project(db, asker, replace(replay.wanted, project_id=project_id), rest, told)
        tried, placed = tried + done.tried, placed + done.placed
    return Replayed(placed, tried - placed)
