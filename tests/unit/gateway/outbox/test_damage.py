"""A damaged file is never taken for a sound one, never silently replaced, and what is readable comes back."""

import asyncio
import errno
import random
import sqlite3
import subprocess
import sys
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from gateway.contract import codec, stored
from gateway.contract.messages import GapReason, Point
from gateway.contract.topics import Up
from gateway.outbox import Outbox, OutboxDamaged, OutboxError, damage
from gateway.outbox.damage import files_set_aside, lost_commits, wal_of
from gateway.outbox.salvage import Salvage
from tests.unit.gateway.outbox.bodies import START, gaps, put_out_of_step

PAGE = 4096

KILLED = """
import asyncio, os, random, signal, sys
from pathlib import Path
from gateway.contract import codec
from gateway.contract.messages import Point
from gateway.contract.topics import Up
from gateway.outbox import Outbox

async def main():
    outbox = Outbox.open(Path(sys.argv[1]), 1 << 30, clock=lambda: 1_764_000_000_000)
    chance = random.Random(1)
    for batch in range(int(sys.argv[2])):
        start = 1_764_000_000_000 + batch * 1_000
        points = [Point("m-1", "flow", start + n, chance.getrandbits(60)) for n in range(100)]
        await outbox.put(Up.READINGS, codec.encode_body(points))
    if sys.argv[3] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    outbox.close()

asyncio.run(main())
"""


@cache
def _files(batches: int, how: str) -> dict[str, bytes]:
    """What a process leaves behind, by what follows the name of the file; each is made once and then copied."""
    with TemporaryDirectory() as folder:
        path = Path(folder) / "outbox"
        subprocess.run([sys.executable, "-c", KILLED, str(path), str(batches), how], check=False, timeout=60)
        return {file.name.removeprefix(path.name): file.read_bytes() for file in path.parent.iterdir()}


def filled(path: Path, batches: int = 200, how: str = "close") -> bytes:
    """A file with `batches` of 100 points each; with `kill` its log is not written back. Its content."""
    for ending, content in _files(batches, how).items():
        path.with_name(path.name + ending).write_bytes(content)
    return path.read_bytes()


def flip(path: Path, places: list[int]) -> None:
    content = bytearray(path.read_bytes())
    for place in places:
        content[place] ^= 0xFF
    path.write_bytes(content)


async def assert_begun_anew(path: Path, evidence: bytes) -> None:
    """The next gateway works, says what is missing, and the damaged file lies beside it as it was."""
    outbox = Outbox.open(path, 1 << 30)
    stats = await outbox.stats()
    assert stats.set_aside is not None
    assert stats.set_aside.read_bytes() == evidence
    assert stats.damaged_files == 1
    assert await outbox.put(Up.READINGS, b"[1]") > 0
    (told,) = await gaps(outbox)
    assert (told.device, told.channel, told.count, told.reason) == ("", "", 0, GapReason.DAMAGED_FILE)
    assert outbox.blind_before == told.until > told.since
    outbox.close()
    again = Outbox.open(path, 1 << 30)
    assert (await again.stats()).set_aside is None
    assert len(await gaps(again)) == 1
    again.close()


@pytest.mark.parametrize("harm", ["garbage", "page", "truncated", "emptied", "header"])
async def test_what_is_wrong_at_the_start_is_set_aside(tmp_path: Path, harm: str) -> None:
    path = tmp_path / "outbox.sqlite"
    content = filled(path)
    broken = {
        "garbage": random.Random(3).randbytes(50_000),
        "page": content[: 10 * PAGE] + random.Random(4).randbytes(5 * PAGE) + content[15 * PAGE :],
        "truncated": content[: len(content) // 2 + 100],
        "emptied": b"",
        "header": b"\0" * 100 + content[100:],
    }[harm]
    path.write_bytes(broken)
    await assert_begun_anew(path, broken)


async def test_a_file_that_somebody_deleted_is_missed(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 3)
    path.unlink()
    outbox = Outbox.open(path, 1 << 30)
    assert outbox.blind_before > 0
    await outbox.put(Up.READINGS, b"[1]")
    assert [one.reason for one in await gaps(outbox)] == [GapReason.DAMAGED_FILE]
    outbox.close()


async def test_damage_found_while_running_ends_the_outbox_and_the_next_start_is_clean(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path)
    outbox = Outbox.open(path, 1 << 30)
    content = bytearray(path.read_bytes())
    # Behind the pages that were read when opening: SQLite meets it when it looks for rows.
    await outbox.run(lambda db: db.execute("PRAGMA cache_size = 1"))
    content[2 * PAGE :] = random.Random(5).randbytes(len(content) - 2 * PAGE)
    path.write_bytes(content)
    with pytest.raises(OutboxDamaged, match=r"set aside as outbox\.sqlite\.damaged-"):
        await outbox.waiting(0, 1_000)
    with pytest.raises(OutboxDamaged):
        await outbox.put(Up.READINGS, b"[1]")
    outbox.accept([1])
    assert not path.exists()
    outbox.close()
    await assert_begun_anew(path, bytes(content))


async def test_an_index_out_of_step_with_its_table_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 10)
    put_out_of_step(path, 5)
    outbox = Outbox.open(path, 1 << 30)
    assert [row.seq for row in await outbox.waiting(0, 4)] == [1, 2, 3, 4]
    with pytest.raises(OutboxDamaged, match="row 5"):
        await outbox.waiting(4, 4)
    outbox.close()
    await assert_begun_anew(path, files_set_aside(path)[0].read_bytes())


async def test_an_index_whose_oldest_row_is_missing_is_damage_to_who_counts_too(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 10)
    put_out_of_step(path, 1)
    outbox = Outbox.open(path, 1 << 30)
    with pytest.raises(OutboxDamaged, match="row 1,"):
        await outbox.stats()
    outbox.close()
    await assert_begun_anew(path, files_set_aside(path)[0].read_bytes())


async def test_damage_that_cannot_be_set_aside_ends_the_outbox_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 10)
    put_out_of_step(path, 5)
    outbox = Outbox.open(path, 1 << 30)

    def refuse(file: Path) -> Path:
        raise OSError(errno.EROFS, "Read-only file system", str(file))

    monkeypatch.setattr(damage, "set_aside", refuse)
    async with asyncio.timeout(60):
        with pytest.raises(OutboxDamaged, match="row 5"):
            await outbox.waiting(0, 10)
        with pytest.raises(OutboxDamaged):
            await outbox.put(Up.READINGS, b"[1]")
    outbox.close()
    assert path.exists()


async def test_a_log_with_damage_in_its_middle_is_not_cut_off_silently(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 40, "kill")
    log = wal_of(path)
    assert lost_commits(log) == 0
    flip(log, [log.stat().st_size // 2])
    evidence = log.read_bytes()
    assert lost_commits(log) > 5
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as db:
        assert db.execute("PRAGMA user_version").fetchone() is not None
    db.close()

    outbox = Outbox.open(path, 1 << 30)
    assert outbox.blind_before > 0
    rows = await outbox.waiting(0, 1_000, (Up.READINGS,))
    assert 0 < len(rows) < 40
    assert (await outbox.stats()).set_aside is None
    assert [file.read_bytes() for file in tmp_path.glob("*.damaged-*-wal")] == [evidence]
    await outbox.put(Up.READINGS, b"[1]")
    assert [one.reason for one in await gaps(outbox)] == [GapReason.DAMAGED_FILE]
    outbox.close()


@pytest.mark.parametrize("place", ["head", "first frame"])
def test_damage_at_the_beginning_of_the_log_is_seen(tmp_path: Path, place: str) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 20, "kill")
    flip(wal_of(path), [5 if place == "head" else 100])
    assert lost_commits(wal_of(path)) > 10


def test_a_torn_end_of_the_log_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 20, "kill")
    log = wal_of(path)
    whole = log.read_bytes()
    log.write_bytes(whole[:-1_000])
    assert lost_commits(log) == 0
    log.write_bytes(whole[:-1_000] + b"\0" * 1_000)
    assert lost_commits(log) == 0
    log.write_bytes(b"\0" * 20)
    assert lost_commits(log) == 0
    log.unlink()
    assert lost_commits(log) == 0


def found_points(file: Path) -> tuple[set[Point], int]:
    salvage = Salvage(file)
    found = {point for one in salvage.batches() for point in codec.decode_points(stored.unpack(one.body))}
    salvage.close()
    return found, salvage.skipped


def test_all_is_salvaged_of_a_sound_file_and_all_that_is_readable_of_a_damaged_one(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    content = filled(path)
    everything, skipped = found_points(path)
    assert (len(everything), skipped) == (20_000, 0)

    pages = len(content) // PAGE
    flip(path, [page * PAGE + n for page in (pages // 3, pages // 2) for n in range(PAGE)])
    damaged = path.read_bytes()
    some, skipped = found_points(path)
    assert 15_000 < len(some) < 20_000
    assert some < everything
    assert skipped > 0
    assert path.read_bytes() == damaged
    assert not wal_of(path).exists()


def test_what_the_log_holds_is_salvaged_too(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 30, "kill")
    log = wal_of(path).read_bytes()
    assert len(found_points(path)[0]) == 3_000
    assert wal_of(path).read_bytes() == log


def test_of_a_file_that_is_no_database_nothing_is_salvaged(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite.damaged-1"
    path.write_bytes(b"evidence" * 1_000)
    assert found_points(path)[0] == set()
    with pytest.raises(OutboxError, match="no such file"):
        Salvage(tmp_path / "nothing")
    assert files_set_aside(tmp_path / "outbox.sqlite") == [path]


async def test_two_processes_do_not_share_a_file_but_readers_are_welcome(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    outbox = Outbox.open(path, 1 << 30)
    await outbox.put(Up.READINGS, b"[1]")
    tried = subprocess.run(
        [sys.executable, "-c", KILLED, str(path), "1", "close"], capture_output=True, text=True, timeout=60, check=False
    )
    assert tried.returncode != 0
    assert "locked by process" in tried.stderr
    with sqlite3.connect(path) as reader:
        assert reader.execute("SELECT count(*) FROM batch").fetchone() == (1,)
    reader.close()
    outbox.close()


async def test_a_bit_that_flips_inside_a_batch_is_noticed_and_does_not_stop_the_others(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    filled(path, 5)
    outbox = Outbox.open(path, 1 << 30)

    def harm(db: sqlite3.Connection) -> None:
        (kept,) = db.execute("SELECT body FROM batch WHERE seq = 3").fetchone()
        middle = len(kept) // 2
        flipped = kept[:middle] + bytes([kept[middle] ^ 1]) + kept[middle + 1 :]
        db.execute("UPDATE batch SET body = ? WHERE seq = 3", (flipped,))

    await outbox.run(harm)
    rows, _ = await outbox.look(-1, 3, (Up.READINGS,))
    assert [row.seq for row in rows] == [1, 2, 4]
    assert [row.seq for row in await outbox.waiting(0, 9, (Up.READINGS,))] == [1, 2, 4, 5]
    await outbox.put(Up.READINGS, b"[1]")
    (told,) = await gaps(outbox)
    assert (told.since, told.until, told.count, told.reason) == (START, START, 0, GapReason.DAMAGED_FILE)
    stats = await outbox.stats()
    assert stats.parked == 1
    reason = await outbox.run(lambda db: db.execute("SELECT reason FROM batch WHERE seq = 3").fetchone()[0])
    assert reason.startswith("damaged in the outbox: bad-encoding")
    outbox.close()
