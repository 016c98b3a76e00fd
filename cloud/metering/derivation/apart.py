"""Derives many meters of which one may be spoilt: that one fails alone, and what waits of it goes on waiting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Database, commit_without_waiting
from cloud.kit.portions import by_halves
from cloud.metering import set_aside_repository as set_aside
from cloud.metering.derivation import update
from cloud.metering.derivation.update import Changes


@dataclass(frozen=True, slots=True)
class Derivation:
    """What was done, and by meter why it could not be derived."""

    changes: Changes = field(default_factory=Changes)
    failed: Mapping[int, str] = field(default_factory=dict)

    def __add__(self, other: "Derivation") -> "Derivation":
        return Derivation(self.changes + other.changes, {**self.failed, **other.failed})


async def bring_up(
    db: Database, asker: Asker, meter_ids: Sequence[int], zones: Mapping[int, ZoneInfo], *, wait: bool
) -> Derivation:
    """Derives what waits of these meters in one transaction, or in parts where one of them cannot be.

    `zones`: by project. `wait`: for other workers that are at one of them; else these meters are theirs.
    """

    async def derived(some: Sequence[int]) -> Derivation:
        async with db.transaction(asker) as conn:
            await commit_without_waiting(conn)
            if wait:
                await update.wait_for_meters(conn, some)
            held = some if wait else await update.lock_meters(conn, some)
            done = Derivation(await update.bring_up(conn, held, zones))
            await set_aside.forget(conn, "derive", held)
            return done

    async def fails(meter_id: int, error: Exception) -> Derivation:
        reason = refusal(error)[1]
        async with db.transaction(asker) as conn:
            await set_aside.note(conn, "derive", meter_id, reason)
        return Derivation(failed={meter_id: reason})

    return sum(await by_halves(meter_ids, derived, fails), Derivation())


async def bring_up_set_aside(db: Database, asker: Asker, zones: Mapping[int, ZoneInfo]) -> Derivation:
    """Tries meters again, each alone, that could not be derived and are due, some of them."""
    async with db.transaction(asker) as conn:
        due = await set_aside.due(conn, "derive")
    done = Derivation()
    for meter_id in due:
        done += await bring_up(db, asker, [meter_id], zones, wait=False)
    return done
