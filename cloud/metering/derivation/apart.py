"""Derives many meters of which one may be spoilt: that one fails alone, and what waits of it goes on waiting."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from zoneinfo import ZoneInfo

from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Database
from cloud.kit.portions import by_halves
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
            if wait:
                await update.wait_for_meters(conn, some)
            held = some if wait else await update.lock_meters(conn, some)
            return Derivation(await update.bring_up(conn, held, zones))

    async def fails(meter_id: int, error: Exception) -> Derivation:
        return Derivation(failed={meter_id: refusal(error)[1]})

    return sum(await by_halves(meter_ids, derived, fails), Derivation())
