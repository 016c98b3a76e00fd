"""A body that was compressed once is the same stream on the wire as one compressed whole."""

import random
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import codec, limits, stored
from gateway.contract.errors import ContractError
from gateway.contract.messages import Point

EPOCH = "3f2b8c1e-9d4a-4f6b-8a7c-1e2d3c4b5a69"


@given(st.binary(max_size=3_000), st.binary(min_size=513, max_size=70_000), st.binary(max_size=50))
def test_a_frame_is_an_ordinary_zlib_stream(before: bytes, body: bytes, after: bytes) -> None:
    packed = stored.pack(body)
    assert stored.is_packed(packed)
    assert stored.unpack(packed) == body
    # zlib itself checks the checksum, and that nothing is missing at the end.
    assert zlib.decompress(stored.frame(before, packed, after)) == before + body + after


@given(st.lists(st.integers(0, 2**63 - 1), min_size=1, max_size=300), st.integers(1, 2**63 - 1))
def test_packed_or_not_the_cloud_reads_the_same(values: list[int], seq: int) -> None:
    body = codec.encode_body(
        [Point("m-1", "energy_import_total", 1_764_000_000_000 + n, v) for n, v in enumerate(values)]
    )
    packed = codec.decode_envelope(codec.encode_envelope(EPOCH, seq, 1_764_000_000_000, stored.pack(body)))
    plain = codec.decode_envelope(codec.encode_envelope(EPOCH, seq, 1_764_000_000_000, body))
    assert (packed.version, packed.epoch, packed.seq, packed.created_at) == (1, EPOCH, seq, 1_764_000_000_000)
    assert packed == plain
    assert bytes(packed.body) == body


def test_a_small_body_stays_readable() -> None:
    assert stored.pack(b'[["m-1","flow",1764000000000,5,0]]') == b'[["m-1","flow",1764000000000,5,0]]'


def test_damage_never_passes_for_a_body() -> None:
    chance = random.Random(5)
    body = codec.encode_body([Point("m-1", "flow", 1_764_000_000_000 + n, n * 37) for n in range(200)])
    packed = stored.pack(body)
    for _ in range(500):
        broken = bytearray(packed)
        broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        try:
            assert stored.unpack(bytes(broken)) in (body, bytes(broken))
        except ContractError:
            continue
    for end in range(1, len(packed), 37):
        with pytest.raises(ContractError):
            stored.unpack(packed[:end])


def test_what_is_too_large_for_the_wire_is_refused_packed_as_well() -> None:
    with pytest.raises(ContractError, match="too-large"):
        codec.encode_envelope(EPOCH, 1, 1_764_000_000_000, stored.pack(b"[" + b" " * limits.MAX_DECODED_BYTES + b"]"))
    noise = b"[" + random.Random(1).randbytes(limits.MAX_WIRE_BYTES) + b"]"
    with pytest.raises(ContractError, match="too-large"):
        codec.encode_envelope(EPOCH, 1, 1_764_000_000_000, stored.pack(noise))
    with pytest.raises(ContractError, match="too-large"):
        stored.unpack(b"\x01\xff\xff\xff\xff\x00\x00\x00\x00")
