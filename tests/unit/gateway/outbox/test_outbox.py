"""The outbox keeps what it promised to keep: across crashes, on a full disk, in a damaged file."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.contract.topics import Up
from gateway.outbox import Outbox, OutboxError, Shed
from tests.unit.gateway.outbox.bodies import noise

MIB = 1024 * 1024


def limit_pages(connection: sqlite3.Connection, spare: int) -> None:
    used = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {used + spare}")


async def test_rows_come_back_in_order_after_reopening(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox.open(path, MIB, clock=lambda: 1_700_000_000_000)
    epoch = outbox.epoch
    seqs = [await outbox.put(Up.READINGS, b"[1]"), await outbox.put(Up.PASSAGES, b"[2]")]
    outbox.close()

    again = Outbox.open(path, MIB)
    rows = await again.waiting(0, 10)
    assert again.epoch == epoch
    assert [row.seq for row in rows] == seqs
    assert [(row.kind, row.body, row.created_at) for row in rows] == [
        (Up.READINGS, b"[1]", 1_700_000_000_000),
        (Up.PASSAGES, b"[2]", 1_700_000_000_000),
    ]
    again.close()


async def test_accepted_rows_go_and_their_numbers_are_never_used_again(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox.open(path, MIB)
    first = await outbox.put(Up.READINGS, b"[1]")
    outbox.accept([first, first, 999])
    assert not await outbox.holds(first)
    outbox.close()

    again = Outbox.open(path, MIB)
    assert await again.waiting(0, 10) == []
    assert await again.put(Up.READINGS, b"[2]") > first
    again.close()


async def test_waiting_pages_and_selects_kinds(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", MIB)
    seqs = [await outbox.put(kind, b"[]") for kind in (Up.READINGS, Up.PASSAGES, Up.READINGS, Up.RESULTS)]
    assert [row.seq for row in await outbox.waiting(0, 2)] == seqs[:2]
    assert [row.seq for row in await outbox.waiting(seqs[1], 9)] == seqs[2:]
    urgent = await outbox.waiting(0, 9, (Up.RESULTS, Up.PASSAGES))
    assert [row.seq for row in urgent] == [seqs[1], seqs[3]]
    outbox.close()


async def test_parked_rows_are_kept_and_counted_but_not_offered(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", MIB)
    seq = await outbox.put(Up.READINGS, b"[1]")
    await outbox.park([(seq, "bad-schema: …")])
    stats = await outbox.stats()
    assert (stats.rows, stats.parked, stats.oldest) == (0, 1, 0)
    assert stats.bytes > 0
    assert await outbox.waiting(0, 10) == []
    assert not await outbox.holds(seq)
    reason = await outbox.run(lambda db: db.execute("SELECT reason FROM batch").fetchone()[0])
    assert reason == "bad-schema: …"
    outbox.close()


async def test_a_full_outbox_gives_up_the_least_valuable_oldest_rows_and_says_so(tmp_path: Path) -> None:
    clock = iter(range(1_699_999_999_999, 1_800_000_000_000))  # opening the file looks once
    path = tmp_path / "outbox.db"
    outbox = Outbox.open(path, 4_000, clock=lambda: next(clock))
    body = noise(936)  # 1,000 bytes a row
    health = await outbox.put(Up.HEALTH, body)
    old = await outbox.put(Up.READINGS, body)
    new = await outbox.put(Up.READINGS, body)
    passages = [await outbox.put(Up.PASSAGES, body) for _ in range(3)]
    kept = [row.seq for row in await outbox.waiting(0, 10)]
    assert kept == [new, *passages]
    assert health not in kept
    assert old not in kept
    more = [await outbox.put(Up.PASSAGES, body) for _ in range(2)]
    assert [row.seq for row in await outbox.waiting(0, 10)] == [*passages[1:], *more]
    outbox.close()

    again = Outbox.open(path, 4_000)
    dropped = (await again.stats()).dropped
    assert {kind: loss.batches for kind, loss in dropped.items()} == {Shed.HEALTH: 1, Shed.BILLING: 2, Shed.PASSAGES: 1}
    assert dropped[Shed.BILLING].bytes == 2_000
    assert dropped[Shed.BILLING].oldest == 1_700_000_000_001
    assert dropped[Shed.BILLING].newest == 1_700_000_000_002
    again.close()


async def test_parked_rows_go_before_queued_ones_of_their_kind(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 3_000)
    body = noise(936)
    seqs = [await outbox.put(Up.READINGS, body) for _ in range(3)]
    await outbox.park([(seqs[2], "refused")])
    seqs.append(await outbox.put(Up.READINGS, body))
    assert [row.seq for row in await outbox.waiting(0, 10)] == [seqs[0], seqs[1], seqs[3]]
    outbox.close()


async def test_a_full_disk_is_handled_like_a_full_outbox(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 64 * MIB)
    body = noise(40_000)
    await asyncio.gather(*(outbox.put(Up.READINGS, body) for _ in range(8)))
    await outbox.run(lambda db: limit_pages(db, 2))
    passage = await outbox.put(Up.PASSAGES, body)
    assert passage > 0
    assert await outbox.holds(passage)
    stats = await outbox.stats()
    assert stats.dropped[Shed.BILLING].batches >= 1
    assert Shed.PASSAGES not in stats.dropped
    outbox.close()


async def test_when_nothing_may_give_way_the_loss_is_counted_and_put_does_not_fail(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 64 * MIB)
    body = noise(40_000)
    passages = [await outbox.put(Up.PASSAGES, body) for _ in range(4)]
    await outbox.run(lambda db: limit_pages(db, 2))
    assert await outbox.put(Up.HEALTH, body) == 0
    assert (await outbox.stats()).dropped[Shed.HEALTH].batches == 1
    assert [row.seq for row in await outbox.waiting(0, 10)] == passages

    await outbox.run(lambda db: limit_pages(db, 1_000))
    assert await outbox.put(Up.READINGS, b"[1]") > 0
    written = await outbox.run(lambda db: db.execute("SELECT shed, batches FROM loss").fetchall())
    assert written == [(Shed.HEALTH, 1)]
    outbox.close()


async def test_on_a_full_disk_old_passages_give_way_to_new_ones_and_no_more_than_needed(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 64 * MIB)
    body = noise(300)
    old = [await outbox.put(Up.PASSAGES, body) for _ in range(400)]
    await outbox.run(lambda db: limit_pages(db, 0))
    new = [await outbox.put(Up.PASSAGES, body) for _ in range(60)]
    kept = {row.seq for row in await outbox.waiting(0, 1_000)}
    assert kept >= set(new)
    lost = (await outbox.stats()).dropped[Shed.PASSAGES].batches
    assert kept == {*old[lost:], *new}
    assert 0 < lost < 120
    outbox.close()


async def test_a_damaged_file_is_set_aside_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    path.write_bytes(b"this is not a database, but it may be evidence" * 100)
    outbox = Outbox.open(path, MIB)
    aside = (await outbox.stats()).set_aside
    assert aside is not None
    assert aside.read_bytes().startswith(b"this is not a database")
    assert await outbox.put(Up.READINGS, b"[1]") > 0
    outbox.close()


async def test_damage_inside_the_file_is_found_when_opening(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    outbox = Outbox.open(path, MIB)
    epoch = outbox.epoch
    for _ in range(50):
        await outbox.put(Up.READINGS, b"[1]" * 400)
    outbox.close()
    content = bytearray(path.read_bytes())
    content[4096 : 4096 * 6] = os.urandom(4096 * 5)
    path.write_bytes(content)

    again = Outbox.open(path, MIB)
    stats = await again.stats()
    assert stats.set_aside is not None
    assert stats.set_aside.read_bytes() == bytes(content)
    assert again.epoch != epoch
    again.close()


def test_a_second_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    first = Outbox.open(path, MIB)
    with pytest.raises(OutboxError, match="locked"):
        Outbox.open(path, MIB)
    first.close()


def test_a_file_of_newer_software_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(OutboxError, match="version 99"):
        Outbox.open(path, MIB)
    assert path.exists()


async def test_work_beside_the_queue_is_committed_with_it_or_not_at_all(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", MIB)
    await outbox.run(lambda db: db.execute("CREATE TABLE side (n INTEGER PRIMARY KEY)"))
    await outbox.put(Up.RESULTS, b"[1]", also=lambda db: db.execute("INSERT INTO side VALUES (1)"))
    good = asyncio.ensure_future(outbox.put(Up.RESULTS, b"[2]"))
    with pytest.raises(OutboxError, match="UNIQUE"):
        await outbox.put(Up.RESULTS, b"[3]", also=lambda db: db.execute("INSERT INTO side VALUES (1)"))
    await good
    assert [row.body for row in await outbox.waiting(0, 10)] == [b"[1]", b"[2]"]
    outbox.close()


async def test_a_failing_job_harms_no_other(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", MIB)

    def fail(db: sqlite3.Connection) -> None:
        raise ZeroDivisionError

    results = await asyncio.gather(
        outbox.put(Up.READINGS, b"[1]"), outbox.run(fail), outbox.put(Up.READINGS, b"[2]"), return_exceptions=True
    )
    assert isinstance(results[1], ZeroDivisionError)
    assert [row.body for row in await outbox.waiting(0, 10)] == [b"[1]", b"[2]"]
    outbox.close()


async def test_arrivals_wake_whoever_waits_and_concurrent_puts_share_commits(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 64 * MIB)
    assert not outbox.arrived.is_set()
    begun: list[str] = []
    await outbox.run(lambda db: db.set_trace_callback(lambda sql: begun.append(sql) if "BEGIN" in sql else None))
    seqs = await asyncio.gather(*(outbox.put(Up.READINGS, b"[1]") for _ in range(300)))
    assert outbox.arrived.is_set()
    assert sorted(seqs) == list(range(1, 301))
    assert len(begun) < 100
    outbox.close()
    with pytest.raises(OutboxError, match="closed"):
        await outbox.put(Up.READINGS, b"[1]")


WRITER = """
import asyncio, sys
from pathlib import Path
from gateway.contract.topics import Up
from gateway.outbox import Outbox

async def main():
    outbox = Outbox.open(Path(sys.argv[1]), 1 << 30)
    while True:
        for seq in await asyncio.gather(*(outbox.put(Up.READINGS, b"[1]" * 300) for _ in range(5))):
            print(seq, flush=True)

asyncio.run(main())
"""


async def test_what_put_returned_for_survives_a_kill(tmp_path: Path) -> None:
    path = tmp_path / "outbox.db"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    promised = [int(writer.stdout.readline()) for _ in range(200)]
    writer.send_signal(signal.SIGKILL)
    promised += [int(line) for line in writer.stdout.read().split("\n")[:-1]]
    writer.stdout.close()
    writer.wait()
    outbox = Outbox.open(path, 1 << 30)
    kept = {row.seq for row in await outbox.waiting(0, 1_000_000)}
    assert kept >= set(promised)
    outbox.close()
