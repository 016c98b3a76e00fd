"""Properties of the codec: what goes in comes out, limits hold on both sides, nothing else than ContractError."""

import contextlib
import time
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import WIRE_VERSION, codec, limits, topics
from gateway.contract.configuration import (
    Configuration,
    ConfigurationReport,
    ConfigurationState,
)
from gateway.contract.errors import ContractError
from gateway.contract.messages import (
    Ack,
    Action,
    Command,
    CommandResult,
    CommandState,
    DeviceHealth,
    Gap,
    GapReason,
    Health,
    Outcome,
    Passage,
    Point,
    Rejection,
)
from gateway.contract.signing import covered
from gateway.contract.topics import Down, Up

EPOCH = "3f2b8c1e-9d4a-4f6b-8a7c-1e2d3c4b5a69"
NOW = 1_764_000_000_000

codes = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", fullmatch=True)
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=limits.MAX_TEXT_CHARS)
plates = st.text(st.characters(exclude_categories=["Cs"]), max_size=limits.MAX_PLATE_CHARS)
times = st.integers(limits.MIN_TIME_MS, limits.MAX_TIME_MS)
values = st.integers(limits.MIN_VALUE, limits.MAX_VALUE)
seqs = st.integers(1, limits.MAX_VALUE)
counts = st.integers(0, 2**31)
uuids = st.uuids().map(str)
points = st.builds(Point, codes, codes, times, values, st.integers(0, 255))
passages = st.builds(
    Passage, uuids, codes, plates, times, st.sampled_from(Outcome), st.sampled_from(("entry", "exit")), codes,
    st.integers(0, 1000), plates, st.booleans(), texts, texts, times,
)  # fmt: skip
results = st.builds(CommandResult, uuids, st.sampled_from(CommandState), times, texts)
actions = st.lists(codes, max_size=limits.MAX_ACTIONS).map(tuple)
devices = st.builds(DeviceHealth, codes, times, counts, counts, counts, counts, counts, actions)
reports = st.builds(
    Health, times, texts, counts, counts, counts, times, counts, st.lists(devices, max_size=4).map(tuple)
)
some_code = st.just("") | codes
gaps = st.builds(Gap, some_code, some_code, times, times, counts, st.sampled_from(GapReason), st.sampled_from(Up))
commands = st.builds(
    Command, st.just(WIRE_VERSION), uuids, codes, codes, codes, st.sampled_from(Action),
    st.dictionaries(codes, texts, max_size=4), texts, times, times,
    st.text("0123456789abcdef", min_size=16, max_size=64), codes,
)  # fmt: skip

details = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
configuration_reports = st.builds(
    ConfigurationReport, seqs, st.sampled_from(ConfigurationState), times, details, st.booleans(), counts
)
configurations = st.builds(
    Configuration, st.just(WIRE_VERSION), seqs, codes, codes, times,
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200),
    st.dictionaries(codes, st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), max_size=4),
    st.integers(limits.MIN_CONFIRM_S, limits.MAX_CONFIRM_S), texts, codes,
)  # fmt: skip


@given(
    epoch=uuids,
    seq=seqs,
    created_at=times,
    batch=st.one_of(
        st.tuples(st.just(Up.READINGS), st.lists(points, min_size=1, max_size=30)),
        st.tuples(st.just(Up.PASSAGES), st.lists(passages, min_size=1, max_size=5)),
        st.tuples(st.just(Up.RESULTS), st.lists(results, min_size=1, max_size=5)),
        st.tuples(st.just(Up.HEALTH), st.lists(reports, min_size=1, max_size=1)),
        st.tuples(st.just(Up.GAPS), st.lists(gaps, min_size=1, max_size=5)),
        st.tuples(st.just(Up.CONFIGURATIONS), st.lists(configuration_reports, min_size=1, max_size=5)),
    ),
)
def test_every_batch_survives_the_wire(epoch: str, seq: int, created_at: int, batch: tuple[Up, Any]) -> None:
    kind, items = batch
    body = codec.encode_body(items)
    codec.check_body(kind, body)
    payload = codec.encode_envelope(epoch, seq, created_at, body)
    envelope = codec.decode_envelope(payload)
    assert (envelope.epoch, envelope.seq, envelope.created_at) == (epoch, seq, created_at)
    assert bytes(envelope.body) == body
    decoders: dict[Up, Callable[[Any], Any]] = {
        Up.READINGS: codec.decode_points,
        Up.PASSAGES: codec.decode_passages,
        Up.RESULTS: codec.decode_results,
        Up.HEALTH: lambda raw: (codec.decode_health(raw),),
        Up.GAPS: codec.decode_gaps,
        Up.CONFIGURATIONS: codec.decode_configurations,
    }
    assert list(decoders[kind](envelope.body)) == items


@given(
    uuids, st.lists(seqs, max_size=40).map(tuple), st.lists(st.builds(Rejection, seqs, texts), max_size=8).map(tuple)
)
def test_acknowledgements_survive_the_wire(
    epoch: str, accepted: tuple[int, ...], rejected: tuple[Rejection, ...]
) -> None:
    ack = Ack(WIRE_VERSION, epoch, accepted, rejected)
    assert codec.decode_ack(codec.encode_ack(ack)) == ack


@given(commands)
def test_commands_survive_the_wire_with_the_bytes_that_were_signed(command: Command) -> None:
    signed = msgspec.structs.replace(command, signature="c2lnbmF0dXJl")
    payload = codec.encode_command(signed)
    assert codec.decode_command(payload) == signed
    assert codec.open_signed(Down.COMMAND, payload).covered == covered(command)


@given(commands, commands)
def test_no_field_of_a_command_can_change_under_its_signature(command: Command, other: Command) -> None:
    for field in command.__struct_fields__:
        value = getattr(other, field)
        if field != "signature" and value != getattr(command, field):
            changed = msgspec.structs.replace(command, **{field: value})
            assert covered(changed) != covered(command)


@given(configurations)
def test_configurations_survive_the_wire_with_the_bytes_that_were_signed(configuration: Configuration) -> None:
    signed = msgspec.structs.replace(configuration, signature="c2lnbmF0dXJl")
    payload = codec.encode_configuration(signed)
    assert codec.decode_configuration(payload) == signed
    assert codec.open_signed(Down.CONFIG, payload).covered == covered(configuration)


@given(configurations, configurations)
def test_no_field_of_a_configuration_can_change_under_its_signature(one: Configuration, other: Configuration) -> None:
    for field in one.__struct_fields__:
        value = getattr(other, field)
        if field != "signature" and value != getattr(one, field):
            assert covered(msgspec.structs.replace(one, **{field: value})) != covered(one)


@given(
    st.binary(max_size=200) | st.binary(max_size=200).map(lambda tail: b"[1," + tail) | st.binary().map(zlib.compress)
)
def test_any_bytes_are_refused_or_decoded_but_never_break(payload: bytes) -> None:
    for decode in (codec.decode_envelope, codec.decode_ack, codec.decode_command, codec.decode_configuration):
        with contextlib.suppress(ContractError):
            decode(payload)


def test_small_messages_are_readable_and_large_ones_compressed() -> None:
    small = codec.encode_body([Point("d", "c", NOW, 1)])
    large = codec.encode_body([Point(f"e-1-{n:04}", "energy_import_total", NOW + n, 10**6 + n) for n in range(200)])
    assert codec.encode_envelope(EPOCH, 1, NOW, small).startswith(b"[1,")
    payload = codec.encode_envelope(EPOCH, 1, NOW, large)
    assert payload[0] == 0x78
    assert len(payload) < len(large) / 5


@pytest.mark.parametrize(
    ("kind", "most", "item"),
    [
        (Up.READINGS, limits.MAX_POINTS_PER_BATCH, Point("d", "c", NOW, 1)),
        (Up.PASSAGES, limits.MAX_ITEMS_PER_BATCH, Passage(EPOCH, "l", "X", NOW, Outcome.PASSED, "entry")),
        (Up.RESULTS, limits.MAX_ITEMS_PER_BATCH, CommandResult(EPOCH, CommandState.DONE, NOW)),
        (Up.HEALTH, 1, Health(NOW, "s", 0, 0, 0, 0, 0)),
        (Up.CONFIGURATIONS, limits.MAX_ITEMS_PER_BATCH, ConfigurationReport(1, ConfigurationState.APPLIED, NOW)),
    ],
)
def test_the_number_of_items_is_bounded(kind: Up, most: int, item: Any) -> None:
    codec.check_body(kind, codec.encode_body([item] * most))
    for count in (0, most + 1):
        with pytest.raises(ContractError, match="bad-schema"):
            codec.check_body(kind, codec.encode_body([item] * count))


def test_messages_beyond_the_size_limits_are_not_even_encoded() -> None:
    with pytest.raises(ContractError, match="too-large"):
        codec.encode_envelope(EPOCH, 1, NOW, b'["' + b"x" * limits.MAX_DECODED_BYTES + b'"]')
    noise = "".join(chr(0x4E00 + (n * 7919 + n * n * 31) % 20_000) for n in range(200_000))
    with pytest.raises(ContractError, match="too-large"):
        codec.encode_envelope(EPOCH, 1, NOW, msgspec.json.encode([noise]))


def test_payloads_beyond_the_wire_limit_are_refused_unread() -> None:
    with pytest.raises(ContractError, match="too-large"):
        codec.decode_envelope(b"[" + b" " * limits.MAX_WIRE_BYTES)


def test_a_later_versions_extra_fields_at_the_end_are_ignored() -> None:
    assert codec.decode_points(b'[["d","c",1764000000000,5,0,"new"]]') == (Point("d", "c", NOW, 5),)


def test_hostile_strings_cost_linear_time() -> None:
    hostile = zlib.compress(b'["' + b'\\"' * ((limits.MAX_DECODED_BYTES - 8) // 2) + b"\\", 9)
    began = time.process_time()
    with pytest.raises(ContractError, match="bad-json"):
        codec.decode_envelope(hostile)
    assert time.process_time() - began < 2.0  # quadratic search took over an hour


@given(codes, codes, st.sampled_from(Up))
def test_topics_come_apart_as_they_were_put_together(project: str, gateway: str, kind: Up) -> None:
    assert topics.parse_up(topics.up(project, gateway, kind)) == (project, gateway, kind)


@pytest.mark.parametrize(
    "topic",
    [
        "", "gm/v1/p/g/up", "gm/v1/p/g/down/ack", "gm/v2/p/g/up/readings", "gm/v1/p/g/up/gossip",
        "gm/v1//g/up/readings", "gm/v1/p/+/up/readings", "gm/v1/p/g/up/readings/x",
        "gm/v1/p/-g/up/readings", "gm/v1/p/g\n/up/readings",
        f"gm/v1/p/{'g' * 65}/up/readings",
    ],
)  # fmt: skip
def test_topics_of_no_gateway_are_refused(topic: str) -> None:
    with pytest.raises(ContractError, match="bad-topic"):
        topics.parse_up(topic)


def test_a_code_that_would_leave_its_subtree_makes_no_topic() -> None:
    for code in ("a/b", "+", "#", "", "x" * 65):
        with pytest.raises(ContractError, match="bad-topic"):
            topics.all_down("demo", code)
