"""What the store of passages does in SQL is what the pure rules say."""

from datetime import timedelta
from functools import reduce
from random import Random
from uuid import UUID

import msgspec

from cloud.devices import service as devices
from cloud.kit.db import SYSTEM, Database
from cloud.parking import service as parking
from cloud.parking.stays import session_repository
from cloud.parking.stays.applying import Told
from cloud.parking.stays.likeness import FROM, INTO, skeleton
from cloud.parking.stays.matching import Outcome
from cloud.parking.stays.reports import Report, merged, progress
from gateway.contract.messages import Passage
from tests.integration.parking.site import GATEWAY, NOON, Site, rows

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


async def test_gateways_that_are_heard_together_are_heard_as_one_after_the_other(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    """Also when one of them uses the name of another one's passage: nobody's word adds to what another one told."""
    async with worker_db.transaction(SYSTEM) as conn:
        other = await devices.create_gateway(conn, site.project_id, "gw-other", "Other")
        device = await devices.create_device(conn, site.project_id, other.id, "entry", "barrier")
        lane = await parking.create_lane(conn, site.lot_id, "far", "far", "entry", device.id)
    came = site.passage("entry", "京A12345", NOON - timedelta(minutes=30))
    left = site.passage("exit", "京A12345", NOON)
    far = site.passage("entry", "京B12345", NOON)
    lie = msgspec.structs.replace(far, id=came.id, plate="京Z99999")
    told = [Told("gw-other", [lie], NOON), Told(GATEWAY, [left], NOON), Told(GATEWAY, [came], NOON)]
    told += [Told("gw-other", [far], NOON)]
    async with ingest_db.transaction(SYSTEM) as conn:
        applied = await parking.apply_told(conn, site.project_id, told)
    found = await rows(ingest_db, "SELECT id, lane_id, plate FROM passage ORDER BY plate")
    assert [(str(row["id"]), row["lane_id"], row["plate"]) for row in found] == [
        (left.id, site.exit.id, "京A12345"),
        (far.id, lane.id, "京B12345"),
        (came.id, lane.id, "京Z99999"),
    ]
    assert (applied.stored, applied.unclaimed) == (3, 0)


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
