"""What a group of messages leaves in the database, whatever is in it and however often it comes."""

import asyncio
import random
import uuid
import zlib
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest
from prometheus_client import REGISTRY

from cloud.devices import service as devices
from cloud.devices.records import InboxFilter, InboxSubject
from cloud.devices.replays import replay_of
from cloud.ingest import replay
from cloud.ingest.messages import Incoming, Refused, read
from cloud.ingest.process import Worker
from cloud.ingest.settings import Broker, IngestSettings
from cloud.ingest.writer import INTERNAL_ERROR, NOT_STORABLE, Writer
from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.metering import service as metering
from cloud.parking import service as parking
from gateway.contract import WIRE_VERSION, codec, limits, topics
from gateway.contract.messages import (
    CommandResult,
    CommandState,
    DeviceHealth,
    Gap,
    GapReason,
    Health,
    Outcome,
    Passage,
    Point,
    Quality,
)
from gateway.contract.quantities import BY_NUMBER
from gateway.contract.topics import Up
from tests.integration.metering.site import (
    CHANNEL,
    EPOCH,
    HOUR_MS,
    START_MS,
    Site,
    hourly,
    make_site,
    message,
    now_ms,
    payload,
)

READINGS = topics.up("demo", "gw-1", Up.READINGS)


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def rows(db: Database, query: str) -> list[dict[str, Any]]:
    async with db.transaction(SYSTEM) as conn:
        return await (await conn.execute(query.encode())).fetchall()


async def readings(db: Database) -> list[tuple[int, int, int]]:
    found = await rows(
        db,
        """SELECT meter_id, (extract(epoch FROM taken_at) * 1000)::bigint AS at, value FROM store.reading
           ORDER BY meter_id, channel, taken_at""",
    )
    return [(row["meter_id"], row["at"], row["value"]) for row in found]


async def replayed(db: Database, subject: InboxSubject = "dead-letters") -> replay.Replayed:
    return await replay.run(db, replay_of(subject, InboxFilter()))


def accepted(answers: Any) -> list[int]:
    return sorted(seq for seqs in answers.accepted.values() for seq in seqs)


def rejected(answers: Any) -> dict[int, str]:
    return {one.seq: one.reason for found in answers.rejected.values() for one in found}


async def test_the_channel_table_equals_the_contract(worker_db: Database) -> None:
    found = await rows(worker_db, "SELECT id, code, unit, kind FROM channel ORDER BY id")
    assert [tuple(row.values()) for row in found] == [
        (number, row.code, row.unit, row.kind.value) for number, row in sorted(BY_NUMBER.items())
    ]


async def test_exactly_once_under_repetition_and_disorder(ingest_db: Database, worker_db: Database, site: Site) -> None:
    chance = random.Random(1)
    batches = [
        message(n + 1, [point for device in ("m1", "m2", "m3") for point in hourly(device, 4 * n, range(n, n + 4))])
        for n in range(20)
    ]
    deliveries = batches * 3
    chance.shuffle(deliveries)
    writers = [Writer(ingest_db), Writer(ingest_db)]
    for n in range(0, len(deliveries), 7):
        await writers[n % 2].store(deliveries[n : n + 7])
    assert await readings(ingest_db) == [
        (meter, START_MS + (4 * n + k) * HOUR_MS, n + k) for meter in site.meters for n in range(20) for k in range(4)
    ]
    assert await rows(ingest_db, "SELECT value FROM store.reading_revision") == []


async def test_another_value_for_the_same_key_is_kept_beside_the_first(ingest_db: Database, site: Site) -> None:
    writer = Writer(ingest_db)
    await writer.store([message(1, hourly("m1", 0, [5]))])
    for seq in (2, 3):
        assert accepted(await writer.store([message(seq, hourly("m1", 0, [6]))])) == [seq]
    await writer.store([message(4, [*hourly("m2", 0, [7]), *hourly("m2", 0, [8])])])
    assert [value for _, _, value in await readings(ingest_db)] == [5, 7]
    assert [row["value"] for row in await rows(ingest_db, "SELECT value FROM store.reading_revision ORDER BY 1")] == [
        6, 8,
    ]  # fmt: skip


async def test_two_workers_with_the_same_messages_at_once(owner_dsn: str, site: Site) -> None:
    batches = [
        message(n + 1, [point for device in ("m1", "m2", "m3", "spare") for point in hourly(device, n, range(30))])
        for n in range(30)
    ]

    async def work(seed: int) -> None:
        mine = batches.copy()
        random.Random(seed).shuffle(mine)
        async with Database(owner_dsn, "gatemeter_ingest", max_size=2) as db:
            writer = Writer(db)
            for n in range(0, len(mine), 3):
                await writer.store(mine[n : n + 3])

    await asyncio.gather(*(work(seed) for seed in range(4)))
    async with Database(owner_dsn, "gatemeter_ingest", max_size=2) as db:
        assert len(await readings(db)) == 3 * 59
        async with db.transaction(SYSTEM) as conn:
            found = await devices.list_unclaimed(conn, PageRequest())
    assert [(one.device_code, one.reason) for one in found.items] == [("spare", "unbound")]


def frame(*fields: object) -> bytes:
    return msgspec.json.encode(fields)


BROKEN = [
    ("empty", b"", None),
    ("bad-encoding", b"\x00\x01", None),
    ("bad-encoding", zlib.compress(b"[1]")[:-3], None),
    ("bad-json", b"[1,", None),
    ("bad-schema", b"[]", None),
    ("too-large", b"[" + b" " * limits.MAX_WIRE_BYTES, None),
    ("too-large", zlib.compress(b"[" + b" " * limits.MAX_DECODED_BYTES), None),
    ("too-deep", b"[" * 50 + b"]" * 50, None),
    ("unknown-version", frame(WIRE_VERSION + 1, EPOCH, 9, 0, [], "new"), 9),
    ("bad-schema", frame(WIRE_VERSION, EPOCH, 8, START_MS, [["m1", CHANNEL, START_MS, 1.5, 0]]), 8),
    ("bad-schema", frame(WIRE_VERSION, EPOCH, 7, START_MS, []), 7),
    ("bad-schema", frame(WIRE_VERSION, EPOCH, 6, START_MS, [["m1", CHANNEL, 5, 1, 0]]), 6),
    ("bad-schema", frame(WIRE_VERSION, EPOCH, 0, START_MS, []), None),
]


@pytest.mark.parametrize(("reason", "broken", "seq"), BROKEN)
async def test_what_breaks_the_contract_is_kept_with_its_reason(
    ingest_db: Database, site: Site, reason: str, broken: bytes, seq: int | None
) -> None:
    writer = Writer(ingest_db)
    group = [read(READINGS, broken, now_ms()), message(1, hourly("m1", 0, [5]))]
    answers = await writer.store(group)
    assert accepted(answers) == [1]
    assert rejected(answers) == ({} if seq is None else {seq: reason})
    await writer.store(group)
    async with ingest_db.transaction(SYSTEM) as conn:
        letters = (await devices.list_dead_letters(conn, PageRequest(), InboxFilter(site.project_id))).items
    assert [(letter.reason, letter.times, letter.topic) for letter in letters] == [(reason, 2, READINGS)]


async def test_a_foreign_topic_is_kept_without_a_project(ingest_db: Database, site: Site) -> None:
    await Writer(ingest_db).store([read("gm/v1/demo/gw-1/up/songs", payload(1, hourly("m1", 0, [5])), now_ms())])
    found = await rows(ingest_db, "SELECT project_id, reason FROM dead_letter")
    assert found == [{"project_id": None, "reason": "bad-topic"}]


@pytest.mark.parametrize(("project", "gateway"), [("demo", "gw-9"), ("nowhere", "gw-1")])
async def test_an_unregistered_gateway_gets_no_answer_and_loses_nothing(
    ingest_db: Database, worker_db: Database, site: Site, project: str, gateway: str
) -> None:
    writer = Writer(ingest_db)
    sent = [message(seq, hourly("m1", seq, [seq]), gateway, project) for seq in (1, 2, 3)]
    answers = await writer.store(sent)
    assert (accepted(answers), rejected(answers)) == ([], {})
    found = await rows(ingest_db, "SELECT reason, times FROM dead_letter")
    assert found == [{"reason": "unknown-gateway", "times": 3}]
    if project == "demo":
        async with worker_db.transaction(SYSTEM) as conn:
            await devices.create_gateway(conn, site.project_id, gateway, "New")
    else:
        await make_site(worker_db, code="nowhere")
    assert accepted(await writer.store(sent)) == [1, 2, 3]


async def test_one_message_that_cannot_be_stored_does_not_take_the_others_along(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    bad_result = codec.encode_body([CommandResult(EPOCH, CommandState.DONE, now_ms(), "nul \0 byte")])
    async with worker_db.transaction(SYSTEM) as conn:
        command = "INSERT INTO command (id, project_id, device_id, action, actor, expires_at)"
        await conn.execute(
            (command + " VALUES (%s, %s, %s, 'read-now', 'x', now() + interval '1 hour')").encode(),
            (EPOCH, site.project_id, site.devices[0]),
        )
    bad = read(topics.up("demo", "gw-1", Up.RESULTS), codec.encode_envelope(EPOCH, 2, now_ms(), bad_result), now_ms())
    answers = await Writer(ingest_db).store([message(1, hourly("m1", 0, [5])), bad, message(3, hourly("m2", 0, [6]))])
    assert accepted(answers) == [1, 3]
    assert rejected(answers) == {2: NOT_STORABLE}
    assert [value for _, _, value in await readings(ingest_db)] == [5, 6]


async def test_readings_wait_for_their_meter_and_are_claimed_once(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    writer = Writer(ingest_db)
    early = hourly("spare", 0, range(10)) + hourly("newcomer", 0, range(5))
    future = [Point("m1", CHANNEL, now_ms() + 10 * 60_000, 1)]
    strange = [Point("m1", "colour", START_MS, 1)]
    for seq in (1, 2):
        assert accepted(await writer.store([message(seq, early + future + strange)])) == [seq]
    assert await readings(ingest_db) == []
    async with worker_db.transaction(SYSTEM) as conn:
        waiting = (await devices.list_unclaimed(conn, PageRequest(), InboxFilter(site.project_id))).items
    assert {(one.device_code, one.reason, one.readings) for one in waiting} == {
        ("spare", "unbound", 10), ("newcomer", "unknown-device", 5), ("m1", "clock", 1), ("m1", "unknown-channel", 1),
    }  # fmt: skip

    async with worker_db.transaction(SYSTEM) as conn:
        meter = await metering.create_meter(
            conn, site.project_id, "E9", "electricity", None, 10**9, 60_000, datetime.now(UTC).date()
        )
        await devices.bind(conn, site.spare, meter.id, datetime.fromtimestamp((START_MS + 4 * HOUR_MS) / 1000, UTC))
    assert [row["kind"] for row in await rows(worker_db, "SELECT kind FROM job")] == [devices.CLAIM_READINGS]
    for _ in range(2):
        await replayed(ingest_db, "unclaimed-readings")
    assert [value for _, _, value in await readings(ingest_db)] == [4, 5, 6, 7, 8, 9]
    assert (await rows(ingest_db, "SELECT count(*) AS n FROM unclaimed_reading"))[0]["n"] == 4 + 5 + 1 + 1
    assert (await rows(ingest_db, "SELECT count(*) AS n FROM store.dirty_window"))[0]["n"] == 1


async def test_a_point_without_a_value_is_not_stored(ingest_db: Database, site: Site) -> None:
    points = hourly("m1", 0, [0], Quality.DEVICE_ERROR) + hourly("m1", 1, [7], Quality.RESTORED)
    assert accepted(await Writer(ingest_db).store([message(1, points)])) == [1]
    assert [value for _, _, value in await readings(ingest_db)] == [7]


async def test_health_and_last_seen_leave_no_audit_entries(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    before = (await rows_as_owner(worker_db))["n"]
    at = now_ms()
    health = Health(at, "0.1", 5, 1, 2, 0, 0)
    older = Health(at - 1000, "0.1", 4, 1, 2, 0, 0)
    topic = topics.up("demo", "gw-1", Up.HEALTH)
    for seq, report in ((1, health), (2, older)):
        sent = codec.encode_envelope(EPOCH, seq, at, codec.encode_body([report]))
        await Writer(ingest_db).store([read(topic, sent, at), message(seq + 5, hourly("m1", 0, [5]))])
    async with worker_db.transaction(SYSTEM) as conn:
        gateway = await devices.get_gateway(conn, site.gateway_id)
        device = await devices.get_device(conn, site.devices[0])
        counts = await devices.device_counts(conn, site.project_id, datetime.now(UTC))
    assert gateway.health == health
    assert device.seen_at == datetime.fromtimestamp(START_MS / 1000, UTC)
    assert (counts.late, counts.never, counts.total) == (1, 3, 4)
    assert (await rows_as_owner(worker_db))["n"] == before


async def test_a_device_without_readings_is_known_by_the_report_of_its_gateway(
    ingest_db: Database, worker_db: Database, site: Site
) -> None:
    at = now_ms()
    told = [DeviceHealth(code, seen, 1, 0, 0, 0, 100) for code, seen in (("spare", at - 500), ("m1", 0), ("m9", at))]
    told.append(DeviceHealth("m2", at + 3_600_000, 1, 0, 0, 0, 100))
    report = Health(at, "0.1", 5, 1, 2, 0, 0, devices=tuple(told))
    sent = codec.encode_envelope(EPOCH, 1, at, codec.encode_body([report]))
    assert accepted(await Writer(ingest_db).store([read(topics.up("demo", "gw-1", Up.HEALTH), sent, at)])) == [1]
    async with worker_db.transaction(SYSTEM) as conn:
        spare = await devices.get_device(conn, site.spare)
        ahead = await devices.get_device(conn, site.devices[1])
        counts = await devices.device_counts(conn, site.project_id, datetime.now(UTC))
    assert spare.seen_at == datetime.fromtimestamp((at - 500) / 1000, UTC)
    assert ahead.seen_at is not None
    assert ahead.seen_at <= datetime.now(UTC)
    assert (counts.online, counts.never, counts.total) == (2, 2, 4)


async def rows_as_owner(db: Database) -> dict[str, Any]:
    async with await psycopg.AsyncConnection.connect(db.dsn, row_factory=psycopg.rows.dict_row) as conn:
        row = await (await conn.execute("SELECT count(*) AS n FROM audit_entry")).fetchone()
    assert row is not None
    return row


async def test_dead_letters_are_replayed_once(ingest_db: Database, worker_db: Database, site: Site) -> None:
    writer = Writer(ingest_db)
    await writer.store([message(1, hourly("m1", 0, [5]), "gw-9"), read(READINGS, b"[1,", now_ms())])
    async with worker_db.transaction(SYSTEM) as conn:
        gateway = await devices.create_gateway(conn, site.project_id, "gw-9", "New")
        assert gateway.code == "gw-9"
    done = await replayed(ingest_db)
    assert (done.stored, done.kept) == (1, 1)
    again = await replayed(ingest_db)
    assert (again.stored, again.kept) == (0, 1)


async def test_a_database_that_refuses_leaves_nothing_answered(owner_dsn: str, site: Site) -> None:
    async with Database(owner_dsn, "gatemeter_ingest", max_size=1) as db:
        group: list[Incoming | Refused] = [message(1, hourly("m1", 0, [5]))]
        with psycopg.connect(owner_dsn, autocommit=True) as owner:
            owner.execute("REVOKE INSERT ON store.reading FROM gatemeter_ingest")
            with pytest.raises(psycopg.Error):
                await Writer(db).store(group)
            owner.execute("GRANT INSERT ON store.reading TO gatemeter_ingest")
        assert accepted(await Writer(db).store(group)) == [1]


def passages_and_readings() -> list[Incoming | Refused]:
    passage = Passage(str(uuid.UUID(int=5)), "gate", "京A1", now_ms(), Outcome.PASSED, "entry")
    body = codec.encode_envelope(EPOCH, 2, now_ms(), codec.encode_body([passage]))
    poisoned = read(topics.up("demo", "gw-1", Up.PASSAGES), body, now_ms())
    return [message(1, hourly("m1", 0, [5])), poisoned, message(3, hourly("m2", 0, [6]))]


@pytest.mark.parametrize(("failures", "reasons"), [(3, {}), (100, {2: INTERNAL_ERROR})])
async def test_an_error_of_ours_stops_neither_the_group_nor_what_comes_after(
    ingest_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch, failures: int, reasons: dict[int, str]
) -> None:
    """The group and two tries of the message alone may fail; a third one sets it aside, to be replayed later."""
    apply, calls = parking.apply_told, 0

    async def fails(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls <= failures:
            raise TypeError("an error of ours")
        return await apply(*arguments)

    monkeypatch.setattr(parking, "apply_told", fails)
    before = REGISTRY.get_sample_value("gatemeter_ingest_internal_errors_total") or 0.0
    answers = await Writer(ingest_db).store(passages_and_readings())
    assert rejected(answers) == reasons
    assert accepted(answers) == [seq for seq in (1, 2, 3) if seq not in reasons]
    assert [value for _, _, value in await readings(ingest_db)] == [5, 6]
    assert (REGISTRY.get_sample_value("gatemeter_ingest_internal_errors_total") or 0.0) - before == len(reasons)
    monkeypatch.setattr(parking, "apply_told", apply)
    assert (await replayed(ingest_db)).stored == len(reasons)
    assert len(await rows(ingest_db, "SELECT id FROM unclaimed_passage")) == 1


async def test_a_deadlock_is_the_databases_affair_and_tried_again(
    ingest_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def crossed(*arguments: Any) -> Any:
        raise psycopg.errors.DeadlockDetected

    monkeypatch.setattr(parking, "apply_told", crossed)
    group = passages_and_readings()
    with pytest.raises(psycopg.errors.DeadlockDetected):
        await Writer(ingest_db).store(group)
    monkeypatch.undo()
    assert accepted(await Writer(ingest_db).store(group)) == [1, 2, 3]
    assert await rows(ingest_db, "SELECT id FROM dead_letter") == []


async def test_gaps_are_kept_once_however_often_and_by_whom_they_come(
    owner_dsn: str, worker_db: Database, site: Site
) -> None:
    told = [
        Gap("m1", CHANNEL, START_MS, START_MS + HOUR_MS, 60, GapReason.OUTBOX_FULL),
        Gap("m1", "", START_MS, START_MS + HOUR_MS, 600, GapReason.THINNED),
        Gap("", "", START_MS, START_MS, 0, GapReason.DAMAGED_FILE),
        Gap("lane-1", "", START_MS, START_MS, 2, GapReason.DISK_FULL, Up.PASSAGES),
    ]
    async with (
        Database(owner_dsn, "gatemeter_ingest", max_size=2) as first,
        Database(owner_dsn, "gatemeter_ingest", max_size=2) as second,
    ):
        writers = [Writer(first), Writer(second)]
        for turn in range(3):
            order = told if turn % 2 else told[::-1]
            batches = [
                read(topics.up("demo", "gw-1", Up.GAPS), payload(10 * turn + n, order), now_ms()) for n in (1, 2)
            ]
            answers = await asyncio.gather(
                *(writer.store([batch]) for writer, batch in zip(writers, batches, strict=True))
            )
            assert [len(accepted(one)) for one in answers] == [1, 1]
    async with worker_db.transaction(SYSTEM) as conn:
        page = await devices.list_gaps(conn, PageRequest(10))
        assert {(one.device_code, one.channel_code, one.reason, one.content, one.lost) for one in page.items} == {
            ("m1", CHANNEL, "outbox-full", "readings", 60), ("m1", "", "thinned", "readings", 600),
            ("", "", "damaged-file", "readings", 0), ("lane-1", "", "disk-full", "passages", 2),
        }  # fmt: skip
        assert page.items[0].gateway_code == "gw-1"
        first_page = await devices.list_gaps(conn, PageRequest(3))
        rest = await devices.list_gaps(conn, PageRequest(3, (first_page.items[-1].id,)))
        assert [one.id for one in [*first_page.items, *rest.items]] == [one.id for one in page.items]
        recent = await devices.list_gaps(conn, PageRequest(10), since=datetime(2100, 1, 1, tzinfo=UTC))
        assert recent.items == []


async def test_what_the_database_lacks_for_one_message_keeps_no_other(
    owner_dsn: str, ingest_db: Database, site: Site
) -> None:
    """Nothing is wrong with the message, so it is no dead letter: its gateway sends it again."""
    group = passages_and_readings()
    with psycopg.connect(owner_dsn, autocommit=True) as owner:
        owner.execute("REVOKE INSERT ON unclaimed_passage FROM gatemeter_ingest")
        answers = await Writer(ingest_db).store(group)
        assert (accepted(answers), rejected(answers)) == ([1, 3], {})
        owner.execute("GRANT INSERT ON unclaimed_passage TO gatemeter_ingest")
    assert accepted(await Writer(ingest_db).store(group[1:2])) == [2]
    assert await rows(ingest_db, "SELECT id FROM dead_letter") == []


async def test_a_message_that_the_database_will_not_take_is_left_after_some_tries(
    ingest_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes behind it is not to wait until somebody has mended the database."""

    async def lacks(*_: Any) -> Any:
        raise psycopg.errors.UndefinedTable

    monkeypatch.setattr(parking, "apply_told", lacks)
    worker = Worker(ingest_db, Broker("127.0.0.1", 1), IngestSettings(), None)
    async with asyncio.timeout(60), worker._writing:
        answers = await worker._store(passages_and_readings()[1:2])
    assert (accepted(answers), rejected(answers)) == ([], {})
