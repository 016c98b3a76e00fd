"""Pictures on a disk that never fills up."""

import errno
import os
import uuid
from pathlib import Path

import pytest

from cloud.parking.pictures.links import MAX_BYTES
from gateway.contract import codec
from gateway.contract.messages import Outcome, Passage
from gateway.contract.topics import Up
from gateway.drivers.barrier.pictures import Pictures, unsent_passages
from gateway.outbox import Outbox

A, B, C, D = (str(uuid.UUID(int=number)) for number in range(1, 5))


def picture(size: int) -> bytes:
    return b"\xff\xd8\xff" + b"p" * (size - 3)


def pictures(directory: Path, *unsent: str, max_bytes: int = 300) -> Pictures:
    async def waiting() -> frozenset[str]:
        return frozenset(unsent)

    return Pictures(directory, max_bytes, waiting)


async def here(kept: Pictures) -> list[str]:
    return [name for name in (A, B, C, D) if await kept.read(name) is not None]


async def test_the_oldest_make_room(tmp_path: Path) -> None:
    kept = pictures(tmp_path)
    for name in (B, A, C, D):
        assert await kept.keep(name, picture(100))
    assert await here(kept) == [A, C, D]
    assert (kept.bytes, kept.dropped) == (300, 1)


async def test_pictures_of_passages_that_were_not_sent_are_the_last_to_go(tmp_path: Path) -> None:
    kept = pictures(tmp_path, A, B)
    for name in (A, B, C):
        await kept.keep(name, picture(100))
    await kept.keep(D, picture(150))
    assert await here(kept) == [B, D]  # first the one that was sent, then the oldest of those that were not


async def test_a_better_picture_of_the_same_passage_takes_its_place(tmp_path: Path) -> None:
    kept = pictures(tmp_path)
    for size in (100, 250, 40):
        assert await kept.keep(A, picture(size))
    assert (await kept.read(A), kept.bytes) == (picture(40), 40)


async def test_the_order_outlives_the_process(tmp_path: Path) -> None:
    kept = pictures(tmp_path)
    for age, name in enumerate((C, A, B)):
        await kept.keep(name, picture(100))
        os.utime(tmp_path / f"{name}.jpg", (age, age))
    again = pictures(tmp_path)
    assert again.bytes == 300
    await again.keep(D, picture(100))
    assert await here(again) == [A, B, D]


@pytest.mark.parametrize("wrong", [b"", b"GIF89a", b"\xff\xd8\xff" + b"x" * 400])
async def test_what_is_no_picture_or_too_large_is_not_kept(tmp_path: Path, wrong: bytes) -> None:
    kept = pictures(tmp_path)
    assert not await kept.keep(A, wrong)
    assert (await here(kept), kept.dropped) == ([], 1)


async def test_what_was_half_written_when_the_power_went_takes_no_room(tmp_path: Path) -> None:
    (tmp_path / f"{A}.new").write_bytes(picture(200))
    kept = pictures(tmp_path)
    assert (list(tmp_path.iterdir()), kept.bytes) == ([], 0)


async def test_no_picture_is_larger_than_the_cloud_takes(tmp_path: Path) -> None:
    kept = pictures(tmp_path, max_bytes=MAX_BYTES * 2)
    assert await kept.keep(A, picture(MAX_BYTES))
    assert not await kept.keep(B, picture(MAX_BYTES + 1))


async def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path) -> None:
    kept = pictures(tmp_path / "pictures")
    (tmp_path / "pictures").rmdir()
    (tmp_path / "pictures").write_bytes(b"in the way")
    assert not await kept.keep(A, picture(10))
    assert kept.bytes == 0


@pytest.mark.parametrize("name", ["../secret", "", "x", A.upper() + "/..", f"{A}.jpg"])
async def test_nothing_else_can_be_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.jpg").write_bytes(b"s")
    assert await pictures(tmp_path / "pictures").read(name) is None


async def test_unsent_are_the_passages_that_wait_in_the_outbox(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 1 << 20)
    for name in (A, B):
        passage = Passage(name, "lane", "", 1_764_000_000_000, Outcome.ARRIVED, "entry")
        seq = await outbox.put(Up.PASSAGES, codec.encode_body([passage]))
    assert await unsent_passages(outbox) == {A, B}
    outbox.accept([seq])
    await outbox.stats()
    assert await unsent_passages(outbox) == {A}
    outbox.close()


async def test_a_disk_that_gives_nothing_away_keeps_no_lane_from_its_vehicles(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A memory card that has become read-only: no picture goes, none comes, and none can be read."""
    kept = pictures(tmp_path, max_bytes=100)
    assert await kept.keep(A, picture(80))

    def broken(path: Path, *_: object, **__: object) -> bytes:
        raise OSError(errno.EROFS, "read-only", str(path))

    for name in ("unlink", "write_bytes", "read_bytes"):
        monkeypatch.setattr(Path, name, broken)
    assert not await kept.keep(B, picture(80))
    assert await kept.read(A) is None
    assert (kept.bytes, kept.dropped) == (80, 1)
    monkeypatch.undo()
    assert await kept.keep(B, picture(80))
    assert await here(kept) == [B]
