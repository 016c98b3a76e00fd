"""Columns read straight from the wire equal what the contract's codec reads, and never what it refuses."""

import json
import zlib
from typing import Any

import numpy as np
from hypothesis import example, given
from hypothesis import strategies as st

from cloud.ingest.columnar import read_usual
from cloud.metering.readings.intake import PointColumns, to_columns
from gateway.contract import WIRE_VERSION, codec, limits
from gateway.contract.errors import ContractError

EPOCH = "00000000-0000-0000-0000-000000000007"
AT = 1_767_225_600_000

codes = st.sampled_from(["m1", "a" * 64, "b.c-d_e"]) | st.sampled_from(
    ["", "a" * 65, "é1", "-a", "a\n", "a b", "\U0001f600"]
)
edges = st.sampled_from(
    [0, 1, -1, 255, 256, limits.MIN_TIME_MS, limits.MIN_TIME_MS - 1, limits.MAX_TIME_MS, limits.MAX_TIME_MS + 1,
     2**63 - 1, 2**63, -(2**63), -(2**63) - 1, 2**64, 10**30]
)  # fmt: skip
odd: st.SearchStrategy[Any] = st.sampled_from([None, True, 1.0, 1.5, "x", [], {}, [[[[[[[[[[1]]]]]]]]]]])
good_points = st.lists(
    st.tuples(
        st.sampled_from(["m1", "m2", "a" * 64, "b.c-d_e"]),
        st.sampled_from(["flow", "energy_import_total"]),
        st.integers(limits.MIN_TIME_MS, limits.MAX_TIME_MS),
        st.integers(limits.MIN_VALUE, limits.MAX_VALUE),
        st.integers(0, 255),
    ),
    min_size=1,
    max_size=8,
)
some_points = st.lists(
    st.tuples(codes, codes, edges | st.just(AT) | odd, edges | odd, edges | odd).map(list)
    | st.lists(st.just("m1") | st.just(AT), max_size=7),
    max_size=3,
)
frames = st.tuples(
    st.just(WIRE_VERSION) | edges | odd, st.just(EPOCH) | codes | odd, st.just(1) | edges | odd, st.just(AT) | edges
)


def reference(payload: bytes) -> tuple[str, int, int, PointColumns] | None:
    try:
        envelope = codec.decode_envelope(payload)
        points = codec.decode_points(envelope.body)
    except ContractError:
        return None
    return envelope.epoch, envelope.seq, envelope.created_at, to_columns(points)


def compare(payload: bytes, *, must_read: bool = False) -> None:
    found, wanted = read_usual(payload), reference(payload)
    if found is None:
        assert not must_read
        return
    assert wanted is not None, "the contract refuses it"
    assert (found.epoch, found.seq, found.created_ms) == wanted[:3]
    assert found.points.series == wanted[3].series
    for name in ("which", "taken_ms", "values", "qualities"):
        np.testing.assert_array_equal(getattr(found.points, name), getattr(wanted[3], name))


@given(good_points, st.booleans())
def test_the_usual_form_is_read_as_by_the_codec(points: list[tuple[Any, ...]], packed: bool) -> None:
    text = json.dumps([WIRE_VERSION, EPOCH, 3, AT, points]).encode()
    compare(zlib.compress(text) if packed else text, must_read=True)


@given(frames, some_points | good_points, st.lists(odd, max_size=1))
def test_what_the_contract_refuses_is_never_read(frame: tuple[Any, ...], points: Any, more: list[Any]) -> None:
    compare(json.dumps([*frame, points, *more]).encode())


@given(good_points, st.integers(0, 400), st.binary(max_size=3))
@example([("m1", "flow", AT, 1, 0)], 0, b"\x78")
def test_damage_is_never_read_as_something_else(points: list[tuple[Any, ...]], place: int, noise: bytes) -> None:
    text = json.dumps([WIRE_VERSION, EPOCH, 3, AT, points]).encode()
    for payload in (text, zlib.compress(text)):
        compare(payload[:place] + noise + payload[place + len(noise) :])


def test_too_many_points_and_none() -> None:
    for count in (0, limits.MAX_POINTS_PER_BATCH, limits.MAX_POINTS_PER_BATCH + 1):
        text = json.dumps([WIRE_VERSION, EPOCH, 3, AT, [["m1", "flow", AT, 1, 0]] * count]).encode()
        compare(zlib.compress(text), must_read=count == limits.MAX_POINTS_PER_BATCH)
