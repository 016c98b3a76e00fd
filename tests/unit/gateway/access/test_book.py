"""What a gateway knows of vehicles over restarts, over messages in any order, and from whom it takes it."""

import asyncio
import contextlib
import random
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from time import monotonic

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.book import AccessBook
from gateway.access.intake import AccessIntake
from gateway.contract import codec
from gateway.contract.access import (
    AccessEntry,
    AccessUpdate,
    GoneEntry,
    ListEntry,
    Listing,
    PermitEntry,
    as_sent,
    in_parts,
)
from gateway.contract.messages import Outcome, Passage
from tests.signing import public_key
from tests.unit.gateway.access.updates import DAY, LOT, MINUTE, NOW, permit, signed, stay, update

A, B = "京A11111", "京B22222"


@pytest.fixture
def book(tmp_path: Path) -> Iterator[AccessBook]:
    opened = AccessBook(tmp_path / "access.sqlite", NOW)
    yield opened
    opened.close()


def again(book: AccessBook, tmp_path: Path) -> AccessBook:
    book.close()
    return AccessBook(tmp_path / "access.sqlite", NOW)


def permitted(book: AccessBook, plate: str) -> bool:
    return bool(book.state(plate, "small", LOT, NOW).permits)


def passage(plate: str, direction: str, at: int, number: int = 1, decision: str = "temporary") -> Passage:
    return Passage(stay(plate, number=number).key, "lane", plate, at, Outcome.PASSED, direction, decision=decision)


async def test_what_is_known_outlives_the_process(book: AccessBook, tmp_path: Path) -> None:
    assert not book.state(A, "small", LOT, NOW).ever_told
    await book.take(update(7, permit("p", A), stay(B, number=2, paid_until=NOW + 5)))
    book.passed(LOT, passage(A, "entry", NOW, decision="permit"))
    book.passed(LOT, passage("京C33333", "exit", NOW + 1))
    book = again(book, tmp_path)
    state = book.state(A, "small", LOT, NOW)
    assert (book.number, state.ever_told, len(state.permits), book.inside(LOT)) == (7, True, 1, 2)
    assert state.stay is not None
    assert state.stay.covered
    paid = book.state(B, "small", LOT, NOW).stay
    assert paid is not None
    assert paid.paid_until == NOW + 5
    book.passed(LOT, passage("京C33333", "entry", NOW, number=3))  # it was seen leaving before the restart
    assert book.inside(LOT) == 2
    book.close()


async def test_a_delta_only_fits_to_the_number_that_it_starts_from(book: AccessBook) -> None:
    assert not await book.take(update(2, permit("p", A), base=1))
    assert await book.take(update(1, permit("p", A)))
    assert await book.take(update(2, permit("q", B), base=1))
    assert not await book.take(update(3, GoneEntry("permit", "p"), base=1))
    assert not await book.take(update(2, GoneEntry("permit", "p"), base=1))  # told again
    assert not await book.take(update(1))  # an old whole
    assert permitted(book, A)
    assert await book.take(update(5, GoneEntry("permit", "p"), permit("q", A), base=2))
    assert (permitted(book, A), permitted(book, B)) == (True, False)
    assert await book.take(update(9))
    assert (permitted(book, A), book.number) == (False, 9)


async def test_an_entry_that_is_told_twice_in_one_message_is_the_last(book: AccessBook) -> None:
    await book.take(update(1, permit("p", A)))
    await book.take(update(2, permit("p", B), permit("p", A), permit("p", B), base=1))
    assert (permitted(book, A), permitted(book, B)) == (False, True)


async def test_parts_take_effect_together_in_any_order_and_over_a_restart(book: AccessBook, tmp_path: Path) -> None:
    await book.take(update(1, permit("old", A)))
    parts = [update(4, permit(f"p{n}", f"京D0000{n}"), part=n, parts=3) for n in (1, 2, 3)]
    assert not await book.take(parts[2])
    assert not await book.take(parts[0])
    assert not await book.take(parts[0])
    assert permitted(book, A)
    book = again(book, tmp_path)
    assert await book.take(parts[1])
    assert [permitted(book, f"京D0000{n}") for n in (1, 2, 3)] == [True] * 3
    assert (permitted(book, A), book.number) == (False, 4)
    book.close()


async def test_parts_of_a_change_that_a_newer_one_overtook_are_nothing(book: AccessBook) -> None:
    await book.take(update(4, permit("p", A), part=1, parts=2))
    await book.take(update(5, permit("q", B), part=1, parts=2))
    assert not await book.take(update(4, permit("r", A), part=2, parts=2))
    assert await book.take(update(5, part=2, parts=2))
    assert (permitted(book, A), permitted(book, B)) == (False, True)


async def test_own_stays_live_on_until_the_cloud_has_spoken_of_them(book: AccessBook) -> None:
    book.passed(LOT, passage(A, "entry", NOW, number=1))
    await book.take(update(1))  # made before the passage had arrived
    assert book.inside(LOT) == 1
    await book.take(update(2, stay(A, NOW, 1, paid_until=NOW + MINUTE), base=1))
    await book.take(update(3))
    assert book.inside(LOT) == 0


async def test_a_stay_that_ended_here_does_not_begin_anew(book: AccessBook, tmp_path: Path) -> None:
    await book.take(update(1, stay(A, NOW)))
    book.passed(LOT, passage(A, "exit", NOW + MINUTE, number=2))
    await book.take(update(2, stay(A, NOW, paid_until=NOW + 5)))
    assert book.inside(LOT) == 0
    book = again(book, tmp_path)
    assert book.inside(LOT) == 0
    book.close()


async def test_a_stay_that_the_cloud_ended_while_it_began_here_is_over(book: AccessBook, tmp_path: Path) -> None:
    """The vehicle left by another gateway's lane, and this one had been cut off."""
    running = asyncio.ensure_future(book.take(update(1, GoneEntry("stay", stay(A, number=1).key))))
    await asyncio.sleep(0)
    book.passed(LOT, passage(A, "entry", NOW, number=1))
    await running
    assert book.inside(LOT) == 0
    book.passed(LOT, passage(A, "entry", NOW, number=1))  # told again by its camera
    book = again(book, tmp_path)
    assert book.inside(LOT) == 0
    book.close()


async def test_very_much_that_changes_is_made_ready_beside_the_lanes(book: AccessBook) -> None:
    """As after an update of the cloud, when every permit is told anew: lanes would stand still for each of them."""
    many = [permit(f"p{n}", f"京E{n:05}") for n in range(5_000)]
    for part in in_parts(update(1), many):
        await book.take(part)
    before = book._index
    *parts, last = in_parts(update(2, base=1), [msgspec.structs.replace(one, grace_ms=5) for one in many])
    for part in parts:
        await book.take(part)
    running = asyncio.ensure_future(book.take(last))
    await asyncio.sleep(0)
    book.passed(LOT, passage(A, "entry", NOW, number=1))
    assert await running
    assert book._index is not before
    assert book.state("京E00007", "small", LOT, NOW).permits[0].grace_ms == 5
    assert book.inside(LOT) == 1
    await book.take(update(3, permit("p1", A), base=2))
    assert permitted(book, A)
    assert not permitted(book, "京E00001")


async def test_who_turned_back_has_no_stay(book: AccessBook) -> None:
    book.passed(LOT, msgspec.structs.replace(passage(A, "entry", NOW), outcome=Outcome.TURNED_BACK))
    assert book.inside(LOT) == 0


async def test_what_lanes_do_while_everything_is_told_anew_is_not_forgotten(book: AccessBook) -> None:
    whole = update(1, stay(B, NOW, 2), *(permit(f"p{n}", f"京E{n:05}") for n in range(500)))
    running = asyncio.ensure_future(book.take(whole))
    await asyncio.sleep(0)
    book.passed(LOT, passage(A, "entry", NOW, number=1))
    book.passed(LOT, passage(B, "exit", NOW + 1, number=3))
    assert await running
    assert book.inside(LOT) == 1
    assert book.state(A, "small", LOT, NOW).stay is not None


async def test_a_damaged_file_is_set_aside_and_nothing_counts_as_known(book: AccessBook, tmp_path: Path) -> None:
    await book.take(update(3, permit("p", A)))
    book.close()
    (tmp_path / "access.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 50)
    fresh = AccessBook(tmp_path / "access.sqlite", NOW)
    assert (fresh.number, fresh.state(A, "small", LOT, NOW).ever_told) == (0, False)
    assert len(list(tmp_path.glob("*damaged*"))) >= 1
    fresh.close()


async def test_a_file_in_which_only_what_is_seldom_read_is_damaged_is_set_aside(
    book: AccessBook, tmp_path: Path
) -> None:
    """Parts of a change lie there for later: none could ever be added, and no change would ever be taken again."""
    many = [permit(f"p{n}", f"京E{n:05}") for n in range(900)]
    await book.take(update(1, permit("old", A)))
    await book.take(update(4, *many, part=1, parts=2))
    book.close()
    file = tmp_path / "access.sqlite"
    content = bytearray(file.read_bytes())
    page = content.find("京E00899".encode()) // 4096 * 4096
    content[page : page + 8] = b"\xff" * 8
    file.write_bytes(content)
    fresh = AccessBook(file, NOW)
    assert fresh.number == 0
    assert len(list(tmp_path.glob("*damaged*"))) >= 1
    fresh.close()


async def test_a_file_with_an_entry_that_nobody_can_read_is_set_aside(book: AccessBook, tmp_path: Path) -> None:
    await book.take(update(3, permit("p", A)))
    book._db.execute("UPDATE entry SET body = x'00'")
    fresh = again(book, tmp_path)
    assert (fresh.number, fresh.state(A, "small", LOT, NOW).ever_told) == (0, False)
    fresh.close()


async def test_what_happened_long_ago_is_forgotten_at_a_start(book: AccessBook, tmp_path: Path) -> None:
    book.passed(LOT, passage(A, "entry", NOW, number=1))
    book.passed(LOT, passage(B, "entry", NOW, number=2))
    book.passed(LOT, passage(B, "exit", NOW, number=3))
    book.close()
    for days, left in ((30, (1, 1, 1)), (31, (1, 0, 0)), (90, (1, 0, 0)), (91, (0, 0, 0))):
        later = AccessBook(tmp_path / "access.sqlite", NOW + days * DAY)
        tables = ("entry", "departure", "ended")
        counts = [later._db.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables]
        assert (days, tuple(counts)) == (days, left)
        assert later.inside(LOT) == left[0]
        later.close()


async def test_what_happened_long_ago_is_forgotten_by_a_gateway_that_runs_on(
    book: AccessBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the time that passes, not by that of a passage: a clock that is ahead for a while forgets nothing."""
    runs = monotonic()
    monkeypatch.setattr("gateway.access.book.monotonic", lambda: runs)
    book.passed(LOT, passage(A, "entry", NOW))
    for passed, plate, at in ((0, A, 0), (3, B, 3), (1, "京C33333", 900), (28, "京D44444", 32)):
        runs += passed * DAY / 1000
        book.passed(LOT, passage(plate, "exit", NOW + at * DAY))
    left = {B, "京C33333", "京D44444"}
    assert {plate for _, plate in book._index._left} == left
    book.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "access.sqlite")) as db:
        assert {plate for (plate,) in db.execute("SELECT plate FROM departure")} == left
        assert db.execute("SELECT count(*) FROM ended").fetchone() == (0,)


async def test_a_vehicle_has_left_when_it_is_through_and_not_when_it_came_to_the_barrier(book: AccessBook) -> None:
    waited = msgspec.structs.replace(passage(A, "exit", NOW, number=2), outcome_at=NOW + 5 * MINUTE)
    book.passed(LOT, waited)
    await book.take(update(1, stay(A, NOW + MINUTE)))  # told late, with an entry by the clock of another camera
    assert book.inside(LOT) == 0


async def test_nothing_piles_up_while_the_cloud_is_silent(book: AccessBook) -> None:
    await book.take(update(1))
    for number in range(5):
        book.passed(LOT, passage(A, "entry", NOW + number, number=number + 1))
    assert book._since is None


async def test_a_disk_that_takes_nothing_changes_nothing_and_stops_no_lane(book: AccessBook) -> None:
    await book.take(update(1, permit("p", A)))
    book._db.execute("PRAGMA query_only = ON")
    with pytest.raises(sqlite3.Error):
        await book.take(update(2, base=1))
    book.passed(LOT, passage(B, "entry", NOW))
    assert (book.number, permitted(book, A), book.inside(LOT)) == (1, True, 1)


@pytest.mark.parametrize(
    "change",
    [
        {"actor": "somebody else"},
        {"key_id": "k2"},
        {"gateway": "gw-2"},
        {"number": 3},
        {"entries": (as_sent(ListEntry("w", "京F66666", Listing.WHITE)),)},
        {"signature": ""},
        {"signature": "not base64"},
    ],
)
async def test_only_the_cloud_hands_out_permits(book: AccessBook, change: dict[str, object]) -> None:
    key = Ed25519PrivateKey.generate()
    intake = AccessIntake("demo", "gw-1", book, public_key(key))
    good = signed(key, update(2, permit("p", A)))
    await intake.handle(codec.encode_access(msgspec.structs.replace(good, **change)))
    assert (book.number, intake.refused) == (0, 1)
    await intake.handle(codec.encode_access(good))
    assert (book.number, permitted(book, A), intake.refused) == (2, True, 1)
    await intake.handle(codec.encode_access(good))  # replayed: nothing happens
    assert book.number == 2


async def test_a_key_that_is_no_longer_trusted_hands_out_nothing(book: AccessBook) -> None:
    old, new = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    intake = AccessIntake("demo", "gw-1", book, public_key(old))
    intake.trust(public_key(new))
    await intake.handle(codec.encode_access(signed(old, update(1, permit("p", A)))))
    assert (permitted(book, A), intake.refused) == (False, 1)
    await intake.handle(codec.encode_access(signed(new, update(1, permit("q", B)))))
    assert (permitted(book, A), permitted(book, B)) == (False, True)


async def test_steps_are_taken_in_the_order_in_which_they_came(
    book: AccessBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The signature of a large one takes long: the next one must not overtake it."""
    key = Ed25519PrivateKey.generate()
    intake = AccessIntake("demo", "gw-1", book, public_key(key))
    proven, overtaken = intake._proven, threading.Event()

    def slowly(payload: bytes) -> AccessUpdate | None:
        found = proven(payload)
        if found is not None and found.number == 1:
            overtaken.wait(0.3)
        return found

    monkeypatch.setattr(intake, "_proven", slowly)
    steps = [update(1, permit("p", A)), update(2, permit("q", B), base=1)]
    both = [asyncio.ensure_future(intake.handle(codec.encode_access(signed(key, step)))) for step in steps]
    both[1].add_done_callback(lambda _: overtaken.set())
    await asyncio.gather(*both)
    assert book.number == 2


@pytest.mark.parametrize("fields", [{"base": 2}, {"base": 3}, {"part": 3, "parts": 2}, {"gateway": "gw-2"}])
async def test_what_makes_no_sense_is_refused_although_it_is_signed(
    book: AccessBook, fields: dict[str, object]
) -> None:
    key = Ed25519PrivateKey.generate()
    intake = AccessIntake("demo", "gw-1", book, public_key(key))
    wrong = signed(key, msgspec.structs.replace(update(2, permit("p", A)), **fields))
    await intake.handle(codec.encode_access(wrong))
    await intake.handle(b"[1,2")
    assert (book.number, intake.refused) == (0, 2)


entries_ = st.lists(
    st.builds(
        lambda key, plate, gone: GoneEntry("permit", key) if gone else permit(key, plate),
        st.sampled_from("pqr"),
        st.sampled_from([A, B]),
        st.booleans(),
    ),
    max_size=4,
)
histories = st.lists(st.tuples(st.booleans(), entries_), min_size=1, max_size=6)


@settings(max_examples=40)
@given(histories, st.randoms(use_true_random=False))
async def test_any_order_and_repetition_of_the_steps_ends_in_the_same_knowledge(
    history: list[tuple[bool, list[AccessEntry]]], chance: random.Random
) -> None:
    book = AccessBook(None, NOW)
    steps: list[AccessUpdate] = []
    wanted: dict[str, PermitEntry] = {}
    for number, (whole, entries) in enumerate(history, start=1):
        wanted = {} if whole or number == 1 else wanted
        for entry in entries:
            if isinstance(entry, GoneEntry):
                wanted.pop(entry.key, None)
            elif isinstance(entry, PermitEntry):
                wanted[entry.key] = entry
        steps.append(update(number, *entries, base=0 if whole or number == 1 else number - 1))
    for _ in range(len(steps)):
        heard = [*steps, *steps]
        chance.shuffle(heard)
        for step in heard:
            await book.take(step)
    assert book.number == len(steps)
    for plate in (A, B):
        count = sum(plate in entry.plates for entry in wanted.values())
        assert len(book.state(plate, "small", LOT, NOW).permits) == count
    book.close()
