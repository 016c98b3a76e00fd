"""A cloud that is newer than the gateway: what can be read is honoured, the rest is kept, told, and read later."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.access.book import AccessBook
from gateway.access.decision import AccessPolicy, AccessRequest, Decision, Direction, Verdict, decide
from gateway.access.intake import AccessIntake
from gateway.contract import access
from gateway.contract.access import GoneEntry, UnreadEntry, as_sent, read_entry
from gateway.contract.errors import ContractError
from tests.newer_cloud import other_words
from tests.signing import public_key, signer
from tests.unit.gateway.access.updates import DAY, LOT, MINUTE, NOW, permit, stay, update

A, B, C = "京A11111", "京B22222", "京C33333"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
SIGN = signer(KEY)
WHOLE = msgspec.json.decode(as_sent(permit("p", A)))
"""With all fields that there are."""
WEEKDAYS = ["permit", "p", [A], NOW - DAY, NOW + DAY, 0, 0, [], "", ["weekdays"], [], [1, 2, 3, 4, 5]]
MEMBERS = AccessPolicy(temporary_allowed=False)


@pytest.fixture
def book(tmp_path: Path) -> Iterator[AccessBook]:
    opened = AccessBook(tmp_path / "access.sqlite", NOW)
    yield opened
    opened.close()


async def tell(book: AccessBook, *entries: Any, number: int = 1, **others: Any) -> AccessIntake:
    intake = AccessIntake("demo", "gw-1", book, public_key(KEY))
    whole = update(number, base=number - 1)
    await intake.handle(other_words(whole, SIGN, changed={"entries": entries}, **others))
    return intake


def judged(book: AccessBook, plate: str, direction: Direction = "entry", policy: AccessPolicy = MEMBERS) -> Decision:
    request = AccessRequest(plate, "small", direction, NOW)
    return decide(request, book.state(plate, "small", LOT, NOW), policy)


async def test_a_field_more_in_the_message_and_in_an_entry_is_passed_over(book: AccessBook) -> None:
    entry = [*WHOLE, "a remark"]
    intake = await tell(book, entry, more=["a field", {"of": "the whole"}])
    assert (book.number, intake.refused, book.not_understood) == (1, 0, 0)
    assert judged(book, A) == Decision(Verdict.OPEN, "permit")


async def test_the_words_of_an_older_cloud_are_understood(book: AccessBook) -> None:
    intake = await tell(book, ["permit", "p", [A], NOW - DAY, NOW + DAY], ["list", "l", B, "black"])
    assert (book.number, intake.refused, book.not_understood) == (1, 0, 0)
    assert judged(book, A).rule == "permit"
    assert judged(book, B).rule == "blacklist"


async def test_a_condition_that_is_not_known_opens_for_nobody_and_refuses_nobody(book: AccessBook) -> None:
    await tell(book, WEEKDAYS, ["list", "l", B, "grey"], ["drone", "d", {"of": [C]}])
    assert (book.number, book.not_understood) == (1, 3)
    for plate in (A, B, C):
        assert judged(book, plate) == Decision(Verdict.OPERATOR, "not-understood")
        assert judged(book, plate, policy=AccessPolicy(False, on_failure="open")).verdict is Verdict.OPEN
        assert judged(book, plate, policy=AccessPolicy()) == Decision(Verdict.OPEN, "temporary")
        assert judged(book, plate, "exit").verdict is Verdict.AWAIT_CLOUD
    assert judged(book, "京D44444") == Decision(Verdict.REFUSE, "no-temporary"), "nothing unread concerns this one"


async def test_what_can_be_read_is_honoured_beside_what_cannot(book: AccessBook) -> None:
    white = ["list", "w", C, "white"]
    await tell(book, ["permit", "p2", [A], NOW - DAY, NOW + DAY], ["drone", "d", A], white, ["drone", "e", C])
    assert judged(book, A) == Decision(Verdict.OPEN, "permit")
    assert judged(book, A, "exit").verdict is Verdict.AWAIT_CLOUD, "it may owe: only the cloud knows"
    assert judged(book, C, "exit") == Decision(Verdict.OPEN, "whitelist")


async def test_free_minutes_of_a_lot_that_is_not_understood_are_asked_for(book: AccessBook) -> None:
    """Those of all classes would stand for those of one class that cannot be read."""
    whole, large = ["lot", "1", LOT, "", 10, 60 * MINUTE], ["lot", "2", LOT, "large", 5, 0, 0, False, ["heights"]]
    inside = as_sent(stay(A, NOW - MINUTE, vehicle_class="large"))
    await tell(book, whole, inside)
    assert judged(book, A, "exit").rule == "free"
    await tell(book, large, number=2)
    assert judged(book, A, "exit").verdict is Verdict.AWAIT_CLOUD


async def test_newer_software_reads_what_its_predecessor_could_not(
    book: AccessBook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await tell(book, WEEKDAYS, permit("q", B))
    book.close()
    older = AccessBook(tmp_path / "access.sqlite", NOW)
    assert (older.number, older.not_understood, judged(older, B).rule) == (1, 1, "permit")
    older.close()
    monkeypatch.setattr(access, "KNOWN_NEEDS", frozenset({"weekdays"}))
    newer = AccessBook(tmp_path / "access.sqlite", NOW)
    assert (newer.number, newer.not_understood, judged(newer, A).rule) == (1, 0, "permit")
    newer.close()


async def test_what_was_not_understood_goes_and_is_replaced_like_anything_else(book: AccessBook) -> None:
    await tell(book, permit("p", A), ["drone", "d", A])
    await tell(book, WEEKDAYS, number=2)
    assert (book.not_understood, judged(book, A).rule) == (2, "not-understood")
    await tell(book, permit("p", A), ["gone", "drone", "d"], number=3)
    assert (book.not_understood, judged(book, A).rule, judged(book, A, "exit").rule) == (0, "permit", "permit")
    await tell(book, WEEKDAYS, number=4)
    await tell(book, ["gone", "permit", "p"], number=5)
    assert (book.not_understood, judged(book, A).rule) == (0, "no-temporary")


@pytest.mark.parametrize("entry", [["drone"], [1, "d"], ["permit"], [], "x", ["gone", "permit"], ["drone", "x" * 65]])
async def test_an_entry_that_cannot_even_be_named_leaves_all_as_it_was(book: AccessBook, entry: object) -> None:
    intake = await tell(book, permit("q", B), entry)
    assert (book.number, intake.refused, book.not_understood) == (0, 1, 0)
    assert not book.state(B, "small", LOT, NOW).ever_told
    await tell(book, permit("q", B))
    assert judged(book, B).rule == "permit"


async def test_parts_with_unknown_words_take_effect_together_over_a_restart(book: AccessBook, tmp_path: Path) -> None:
    intake = AccessIntake("demo", "gw-1", book, public_key(KEY))
    first, second = (
        other_words(update(1, part=part, parts=2), SIGN, changed={"entries": [entry]}, more=["x"])
        for part, entry in ((1, WEEKDAYS), (2, permit("q", B)))
    )
    await intake.handle(second)
    assert book.number == 0
    book.close()
    again = AccessBook(tmp_path / "access.sqlite", NOW)
    await AccessIntake("demo", "gw-1", again, public_key(KEY)).handle(first)
    assert (again.number, again.not_understood, judged(again, B).rule) == (1, 1, "permit")
    again.close()


anything = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(
    more=st.lists(anything, max_size=3),
    tail=st.lists(anything, max_size=3),
    place=st.integers(0),
    bit=st.integers(0, 7),
)
async def test_whatever_is_said_besides_nobody_else_can_say_it(
    more: list[object], tail: list[object], place: int, bit: int
) -> None:
    """Any field more is taken from the cloud, and no bit of such a message can be turned on its way."""
    entry = [*WHOLE, *tail]
    payload = other_words(update(1), SIGN, changed={"entries": [entry]}, more=more)
    book = AccessBook(None, NOW)
    intake = AccessIntake("demo", "gw-1", book, public_key(KEY))
    bent = bytearray(payload)
    bent[place % len(bent)] ^= 1 << bit
    await intake.handle(bytes(bent))
    assert book.number == 0 or same_signature(payload, bytes(bent))
    await intake.handle(payload)
    assert (book.number, judged(book, A).rule) == (1, "permit")
    await intake.handle(payload)  # replayed
    assert book.number == 1
    book.close()


def same_signature(one: bytes, other: bytes) -> bool:
    """Base64 has bits that say nothing, in the last letter before `==`."""

    def signature(payload: bytes) -> bytes:
        return base64.b64decode(payload.split(b'"k1","')[1].split(b'"')[0])

    return signature(one) == signature(other)


@given(st.lists(anything, max_size=6))
def test_any_entry_is_read_kept_by_name_or_refused(entry: list[object]) -> None:
    body = msgspec.json.encode(entry)
    try:
        read = read_entry(body)
    except ContractError:
        return
    assert isinstance(read, UnreadEntry | GoneEntry) or entry[0] in ("list", "permit", "reservation", "lot", "stay")
    if isinstance(read, UnreadEntry):
        assert (read.kind, read.key) == (entry[0], entry[1])
