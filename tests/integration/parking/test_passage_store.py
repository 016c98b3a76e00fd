"""What the store of passages does in SQL is what the pure rules say."""

from datetime import timedelta
from functools import reduce
from random import Random
from uuid import UUID

import msgspec

from cloud.kit.db import Database
from cloud.parking.stays import session_repository
from cloud.parking.stays.likeness import FROM, INTO, skeleton
from cloud.parking.stays.matching import Outcome
from cloud.parking.stays.reports import Report, merged, progress
from gateway.contract.messages import Passage
from tests.integration.parking.site import NOON, Site, rows

DECISIONS = ("", "await-cloud", "no-plate", "temporary", "cloud-silent", "command")


def _report(passage: Passage, lane_id: int) -> Report:
    """A wire passage as the pure rules take it."""
    outcome: Outcome = "passed" if passage.outcome == "passed" else "arrived"
    at = NOON + timedelta(milliseconds=passage.outcome_at - passage.taken_at if passage.outcome_at else 0)
    return Report(
        id=UUID(passage.id), project_id=1, lane_id=lane_id, plate_told=passage.plate,
        plate_read=passage.plate, vehicle_class="small", score=0, direction="entry", taken_at=NOON, outcome=outcome,
        outcome_at=at, offline=passage.offline, decision=passage.decision, image=passage.image,
        progress=progress(outcome, passage.plate, passage.decision),
    )  # fmt: skip


async def test_several_reports_of_a_passage_come_to_what_the_rules_say(ingest_db: Database, site: Site) -> None:
    for seed in range(25):
        chance = Random(seed)
        first = site.passage("entry", "", NOON, "arrived")
        told = [
            msgspec.structs.replace(
                site.passage(
                    "entry", chance.choice(["", "京A12345"]), NOON, chance.choice(["arrived", "passed"]), first
                ),
                decision=chance.choice(DECISIONS),
                offline=chance.random() < 0.2,
                outcome_at=chance.choice([0, first.taken_at + 5000]),
                image=chance.choice(["", first.id]),
            )
            for _ in range(5)
        ]
        for passage in told:
            await site.report(ingest_db, [passage], NOON)
        (row,) = await rows(ingest_db, "SELECT * FROM passage WHERE id = %s", (first.id,))
        wanted = reduce(merged, (_report(passage, site.entry.id) for passage in told))
        assert {name: row[name] for name in ("outcome", "decision", "plate_told", "offline", "image", "progress")} == {
            name: getattr(wanted, name)
            for name in ("outcome", "decision", "plate_told", "offline", "image", "progress")
        }
        assert (row["outcome_at"], row["plate"]) == (wanted.outcome_at, wanted.plate_told)


async def test_the_database_has_the_same_skeletons(ingest_db: Database) -> None:
    plates = [*FROM, *INTO, "京A12345", "沪OZ0IL5", "#K7PX34RA", ""]
    found = await rows(ingest_db, "SELECT gm.plate_skeleton(p) AS s FROM unnest(%s::text[]) AS p", (plates,))
    assert [row["s"] for row in found] == [skeleton(plate) for plate in plates]


async def test_what_hangs_on_a_stay_goes_over_when_it_turns_out_to_be_part_of_another(owner_db: Database) -> None:
    """A new table that names stays must be handed over too."""
    found = await rows(
        owner_db,
        """SELECT conrelid::regclass::text AS name FROM pg_constraint
           WHERE contype = 'f' AND confrelid = 'parking_session'::regclass""",
    )
    handed_over = {query.split()[1] for query in session_repository._HAND_OVER}
    assert {row["name"] for row in found} == handed_over
