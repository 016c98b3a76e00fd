"""No bytes from outside make the reader fail; what it refuses carries a reason."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.ingest.messages import Incoming, Refused, read
from gateway.contract import codec, limits, topics
from gateway.contract.messages import Point
from gateway.contract.topics import Up

EPOCH = "00000000-0000-0000-0000-000000000007"
TOPIC = topics.up("demo", "gw-1", Up.READINGS)
GOOD = codec.encode_envelope(
    EPOCH, 3, 1_767_225_600_000, codec.encode_body([Point("m1", "flow", 1_767_225_600_000, 5)] * 30)
)


@given(st.text(max_size=40), st.binary(max_size=300))
def test_any_topic_and_payload_is_answered(topic: str, payload: bytes) -> None:
    found = read(topic, payload, 0)
    assert isinstance(found, Refused)
    assert found.reason


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255), st.booleans())
def test_damaged_messages_are_refused_or_read_whole(place: int, byte: int, cut: bool) -> None:
    damaged = GOOD[:place] if cut else GOOD[:place] + bytes((byte,)) + GOOD[place + 1 :]
    found = read(TOPIC, damaged, 0)
    assert isinstance(found, Refused) or len(found.content.which) == 30  # type: ignore[union-attr]  # readings


def test_columns_of_a_good_message() -> None:
    found = read(TOPIC, GOOD, 11)
    assert isinstance(found, Incoming)
    assert (found.sender.epoch, found.seq, found.received_ms) == (EPOCH, 3, 11)


def test_what_is_kept_of_an_oversized_message_is_bounded() -> None:
    found = read(TOPIC, b"[" * (limits.MAX_WIRE_BYTES * 3), 0)
    assert isinstance(found, Refused)
    assert (found.reason, len(found.payload), found.sender) == ("too-large", limits.MAX_WIRE_BYTES, None)
