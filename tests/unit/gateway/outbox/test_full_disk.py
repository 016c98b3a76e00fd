"""A disk that takes nothing more: what is worth less gives way, what is lost is told, space that comes back is used."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

# In a process of its own: a size limit is the process's, and a mount must not be in use when it goes.
WRITER = """
import asyncio, json, os, random, resource, signal, sys
from pathlib import Path
from gateway.contract import codec, stored
from gateway.contract.messages import Passage, Point
from gateway.contract.topics import Up
from gateway.outbox import Outbox, Shed, shedding

START = 1_764_000_000_000
PATH = Path(sys.argv[1])
FILLER = PATH.with_name("of-another-program")
shedding._DISK_REST_S = 0.2
chance = random.Random(1)

def body(channel, n):
    return codec.encode_body([Point("m-1", channel, START + n * 1_000 + k, chance.getrandbits(60)) for k in range(100)])

def passage(n):
    made = Passage(f"00000000-0000-4000-8000-{n:012}", "lane-1", "X", START + n, "passed", "entry", image="y" * 300)
    return codec.encode_body([made])

def fill_up():
    if sys.argv[2] == "limit":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (PATH.stat().st_size + 4096, resource.RLIM_INFINITY))
        return
    with FILLER.open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(bytes(4096))
        except OSError:
            pass

def give_back():
    if sys.argv[2] == "limit":
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    else:
        FILLER.unlink()

def dropped(stats):
    return {shed.name: loss.items for shed, loss in stats.dropped.items()}

async def main():
    outbox = Outbox.open(PATH, 64 << 20, clock=lambda: START)
    answers = {"passages": [], "registers": []}
    for n in range(400):
        await outbox.put(Up.READINGS, body("voltage_l1", n), shed=Shed.DIAGNOSTICS)
        await outbox.put(Up.READINGS, body("energy_import_total", n))
    fill_up()
    for n in range(400):
        answers["passages"].append(await outbox.put(Up.PASSAGES, passage(n)))
        answers["registers"].append(await outbox.put(Up.READINGS, body("energy_import_total", 1_000 + n)))
    answers["shedding"] = outbox.shedding
    answers["dropped"] = dropped(await outbox.stats())
    outbox.accept([row.seq for row in await outbox.waiting(0, 5)])
    give_back()
    while outbox.shedding:
        await asyncio.sleep(0.05)
        await outbox.put(Up.HEALTH, b"[]")
    answers["after"] = [await outbox.put(Up.READINGS, body("energy_import_total", 5_000 + n)) for n in range(100)]
    stats = await outbox.stats()
    answers["lost"] = dropped(stats)
    rows = await outbox.waiting(0, 100_000)
    answers["kept"] = [row.seq for row in rows]
    gaps = [gap for row in rows if row.kind is Up.GAPS for gap in codec.decode_gaps(row.body)]
    answers["told"] = [[gap.device, gap.channel, gap.count, gap.reason] for gap in gaps]
    outbox.close()
    again = Outbox.open(PATH, 64 << 20)
    answers["again"] = [row.seq for row in await again.waiting(0, 100_000)]
    again.close()
    print(json.dumps(answers))

asyncio.run(main())
"""


def written(path: Path, how: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", WRITER, str(path), how], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answers


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system of 12 MiB; only root can have one."""
    folder = tmp_path_factory.mktemp("disk")
    if (
        os.geteuid()
        or subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", folder], check=False).returncode
    ):
        pytest.skip("cannot mount a small file system here")
    yield folder
    subprocess.run(["umount", folder], check=True)


@pytest.fixture(scope="module")
def full(small_disk: Path) -> dict[str, Any]:
    return written(small_disk / "outbox.sqlite", "disk")


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return written(tmp_path_factory.mktemp("limit") / "outbox.sqlite", "limit")


def test_on_a_full_disk_diagnostics_make_room_for_passages_and_registers(full: dict[str, Any]) -> None:
    assert 0 not in full["passages"]
    assert 0 not in full["registers"]
    assert set(full["passages"]) <= set(full["kept"])
    assert full["dropped"]["DIAGNOSTICS"] > 0
    assert "PASSAGES" not in full["dropped"]
    assert full["shedding"] is True


def test_under_a_size_limit_nothing_fails_and_what_is_lost_is_counted(limited: dict[str, Any]) -> None:
    assert limited["shedding"] is True
    unwritten = limited["registers"].count(0)
    assert limited["dropped"]["BILLING"] >= 100 * unwritten > 0


@pytest.mark.parametrize("how", ["full", "limited"])
def test_space_that_comes_back_is_used_and_every_loss_is_told_once(how: str, request: pytest.FixtureRequest) -> None:
    answers = request.getfixturevalue(how)
    assert 0 not in answers["after"]
    assert set(answers["after"]) <= set(answers["kept"])
    assert answers["again"] == answers["kept"]
    told = {"DIAGNOSTICS": 0, "BILLING": 0, "PASSAGES": 0}
    for device, channel, count, reason in answers["told"]:
        assert reason == "disk-full"
        told["PASSAGES" if device == "lane-1" else "BILLING" if channel else "DIAGNOSTICS"] += count
    assert {name: count for name, count in told.items() if count} == answers["lost"]
