"""Dead letters tried again: after a correction of this software, a registration, a new version of the contract."""

from dataclasses import dataclass

from cloud.devices import service as devices
from cloud.ingest.messages import Incoming, now_ms, read
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Database

_AT_ONCE = 100
_ASKER = SYSTEM.named("replay")


@dataclass(frozen=True, slots=True)
class Replayed:
    """How many letters found their place, and how many did not."""

    stored: int
    kept: int


async def replay_dead_letters(db: Database) -> Replayed:
    """Stores every dead letter that can be stored now. No acknowledgement follows: a rejected batch was answered."""
    writer = Writer(db)
    stored = kept = after = 0
    while True:
        async with db.transaction(_ASKER) as conn:
            letters = await devices.dead_letters_to_replay(conn, after, _AT_ONCE)
        if not letters:
            return Replayed(stored, kept)
        for letter_id, topic, payload in letters:
            message = read(topic, payload, now_ms())
            if isinstance(message, Incoming) and (await writer.store([message])).accepted:
                async with db.transaction(_ASKER) as conn:
                    await devices.mark_replayed(conn, letter_id)
                stored += 1
            else:
                kept += 1
        after = letters[-1][0]
