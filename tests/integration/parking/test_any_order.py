"""Whatever order passages and corrections come in, the stays stored are those that all of them come to at once."""

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.parking.stays import corrections
from gateway.contract.messages import Passage
from tests.integration.parking.nested import LANES, add_inner_lot, matched_at_once, set_policy, stored
from tests.integration.parking.site import NOON, Site, rows

ALIKE = ("京A12345", "京A1234S", "京AI2345", "沪BD0000")
"""The first three may be misread for one another."""
POLICIES: tuple[dict[str, Any], ...] = (
    {},
    {"reentry_within_minutes": 15, "unseen_entry": [{"then": "last-known"}]},
    {"unseen_entry": [{"then": "fixed-charge", "amount": "20.00"}], "other_lane_within_seconds": 60},
    {"unseen_entry": [{"then": "open-free"}, {"then": "last-known", "vehicle_class": "large"}], "misread": "never"},
)
END = NOON + timedelta(days=9)


def _days(site: Site, chance: Random) -> list[Passage]:
    """Some days of vehicles with everything odd, each passage told once or twice."""
    found: list[Passage] = []
    for plate in ALIKE:
        at = NOON
        for _ in range(chance.randint(1, 9)):
            at += timedelta(seconds=chance.choice([5, 20, 200, 800, 9_000, 90_000]))
            device = chance.choice([name for name, _ in LANES])
            outcome = chance.choice(["passed", "passed", "passed", "turned-back", "refused", "arrived"])
            arrived = _told(site, device, plate, at, "arrived")
            found += [arrived] if outcome == "arrived" else [arrived, _told(site, device, plate, at, outcome, arrived)]
    return found


def _told(site: Site, device: str, plate: str, at: Any, outcome: str, known: Passage | None = None) -> Passage:
    passage = site.passage(device, plate, at, outcome, known)
    direction = dict(LANES)[device]
    return Passage(**{name: getattr(passage, name) for name in passage.__struct_fields__ if name != "direction"},
                   direction=direction)  # fmt: skip


async def _clear(db: Database) -> None:
    await rows(db, "DELETE FROM plate_correction RETURNING id")
    await rows(db, "DELETE FROM passage RETURNING id")
    await rows(db, "DELETE FROM parking_session RETURNING id")


async def _correct_or_undo(db: Database, chance: Random) -> None:
    """Somebody says that a passage has another plate, or takes back what was said."""
    known = await rows(db, "SELECT id FROM passage ORDER BY id")
    said = await rows(db, "SELECT id FROM plate_correction WHERE undone_at IS NULL ORDER BY id")
    if not known:
        return
    async with db.transaction(SYSTEM) as conn:
        try:
            if said and chance.random() < 0.4:
                await corrections.undo_correction(conn, chance.choice(said)["id"], "mistaken", "guard", END)
            else:
                wanted = chance.choice([*ALIKE, "粤Z99999"])
                await corrections.correct_plate(conn, chance.choice(known)["id"], wanted, "seen", "guard", END)
        except Conflict:
            pass  # it has this plate already


@pytest.mark.parametrize("number", range(len(POLICIES)))
async def test_stored_stays_are_those_of_all_passages_at_once(
    ingest_db: Database, worker_db: Database, site: Site, number: int
) -> None:
    inner = await add_inner_lot(worker_db, site)
    await set_policy(worker_db, site.lot_id, **POLICIES[number])
    await set_policy(worker_db, inner, **POLICIES[number], inner_time="included")
    for seed in range(6):
        chance = Random(f"{number}-{seed}")
        days = _days(site, chance)
        await _clear(worker_db)
        shuffled = days + chance.sample(days, 5) if len(days) > 5 else days
        chance.shuffle(shuffled)
        while shuffled:
            size = chance.randint(1, 5)
            await site.report(ingest_db, shuffled[:size], END)
            del shuffled[:size]
            if chance.random() < 0.3:
                await _correct_or_undo(worker_db, chance)
            assert await stored(worker_db) == await matched_at_once(worker_db, site.project_id)
