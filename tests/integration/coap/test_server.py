"""What a battery meter is told is true: acknowledged is durable, refused is not used, twice is once."""

import asyncio
import json
import socket
import time
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiocoap import Message
from aiocoap.numbers.codes import GET

from gateway.contract.codec import decode_points, encode_body
from gateway.contract.messages import Point, Quality
from gateway.contract.topics import Up
from gateway.drivers.coap import server as server_module
from gateway.drivers.coap.senml import MAX_BYTES
from gateway.outbox import Outbox
from simulators.coap.battery import BatteryMeter
from simulators.coap.senml import CBOR, JSON, encode
from tests.integration.coap.lines import (
    URN,
    Datagrams,
    Recording,
    client,
    now_s,
    post,
    pushed_to,
    running,
    server_line,
    simulated,
    until,
)


def pack(volume: str, at_s: int | None = None, base_name: str = "") -> bytes:
    """A JSON pack of one volume, written out."""
    time = "" if at_s is None else f',"t":{at_s}'
    return f'[{{"n":"{base_name}volume","u":"m3","v":{volume}{time}}}]'.encode()


def confirmable(number: int, payload: bytes, token: bytes = b"\x07", device: bytes = b"w-2") -> bytes:
    """POST /m/w-2 of SenML JSON as it is on the wire: header, token, Uri-Path twice, Content-Format, payload."""
    head = bytes([0x40 | len(token), 0x02]) + number.to_bytes(2, "big") + token
    return head + b"\xb1m" + bytes([len(device)]) + device + b"\x11\x6e\xff" + payload


def acknowledged(number: int, token: bytes = b"\x07") -> bytes:
    """2.04 piggybacked on the acknowledgement of message `number`."""
    return bytes([0x60 | len(token), 0x44]) + number.to_bytes(2, "big") + token


@pytest.mark.parametrize("content_format", [JSON, CBOR])
async def test_a_pack_is_recorded_to_the_last_digit(content_format: int) -> None:
    recording, meter, at = Recording(), simulated(), now_s() - 5
    async with pushed_to(recording) as line, client() as context:
        battery = BatteryMeter(meter, f"coap://127.0.0.1:{line.port}/senml", content_format, seed=1)
        battery.read(at)
        answer = await battery.push(context)
        assert answer.code.dotted == "2.04"
        assert not battery.waiting
        stats = line.stats.devices[0]
    volume, flow = (meter.shown(register, at) for register in meter.template.registers[:2])
    assert isinstance(volume, Decimal)
    assert isinstance(flow, Decimal)
    assert recording.points == [
        Point("w-1", "volume_total", at * 1000, int(volume * 10**6)),
        Point("w-1", "flow", at * 1000, round(flow * 3_600_000)),
        Point("w-1", "temperature_water", at * 1000, 12_400),
        Point("w-1", "battery_voltage", at * 1000, 3_610),
        Point("w-1", "valve_state", at * 1000, 1),
    ]
    assert recording.points[0].value == meter.dwelling.value("volume_total", at)
    assert (stats.device, stats.answers, stats.points, stats.malformed) == ("w-1", 1, 5, 0)
    assert stats.last_seen_ms >= at * 1000


async def test_nothing_is_acknowledged_before_it_is_durable() -> None:
    recording = Recording()
    recording.block()
    async with pushed_to(recording) as line:
        wire = Datagrams(line.port)
        message = confirmable(0x1234, pack("1.5"))
        await wire.send(message)
        await until(lambda: recording.waiting)
        await wire.send(message)
        # Three times as long as aiocoap by itself would wait with an empty acknowledgement.
        assert await wire.receive(0.3) is None
        assert recording.points == []
        recording.release()
        assert await wire.receive() == acknowledged(0x1234)
        assert [point.value for point in recording.points] == [1_500_000]
        wire.close()


async def test_a_message_that_comes_again_is_answered_again_and_recorded_once() -> None:
    recording = Recording()
    async with pushed_to(recording) as line:
        wire = Datagrams(line.port)
        for _ in range(3):
            await wire.send(confirmable(7, pack("1.5")))
            assert await wire.receive() == acknowledged(7)
        assert len(recording.points) == 1
        assert line.counters.duplicates == 0  # known by its number, never looked into
        wire.close()


async def test_another_message_of_the_same_number_is_another_message() -> None:
    """A meter that counts from the start after each sleep must not be told that its new values are stored."""
    recording = Recording()
    async with pushed_to(recording) as line:
        wire = Datagrams(line.port)
        for volume in ("1.5", "1.6", "1.5"):
            await wire.send(confirmable(1, pack(volume)))
            assert await wire.receive() == acknowledged(1)
        assert [point.value for point in recording.points] == [1_500_000, 1_600_000, 1_500_000]
        wire.close()


async def test_a_time_that_is_recorded_is_acknowledged_and_not_recorded_again() -> None:
    recording, at = Recording(), now_s()
    async with pushed_to(recording) as line, client() as context:
        for number in range(3):
            answer = await post(context, line, "m/w-2", pack("1.5", at), JSON)
            assert answer.code.dotted == "2.04"
            assert line.counters.duplicates == number
        both = b"[" + pack("1.5", at)[1:-1] + b"," + pack("1.6", at + 1)[1:-1] + b"]"
        await post(context, line, "m/w-2", both, JSON)
        await post(context, line, "senml", pack("1.5", at, URN), JSON)
    assert [(point.device, point.value) for point in recording.points] == [
        ("w-2", 1_500_000),
        ("w-2", 1_600_000),
        ("w-1", 1_500_000),
    ]


async def test_the_same_values_in_two_messages_at_once_are_recorded_once() -> None:
    recording, at = Recording(), now_s()
    recording.block()
    async with pushed_to(recording) as line, client() as one, client() as other:
        posts = [asyncio.ensure_future(post(who, line, "m/w-2", pack("1.5", at), JSON)) for who in (one, other)]
        await until(lambda: recording.waiting)
        recording.release()
        assert [answer.code.dotted for answer in await asyncio.gather(*posts)] == ["2.04", "2.04"]
    assert len(recording.points) == 1
    assert line.counters.duplicates == 1


async def test_a_meter_that_repeats_itself_and_was_offline_is_recorded_once_and_whole() -> None:
    recording, meter, at = Recording(), simulated(), now_s() - 86_400
    async with pushed_to(recording) as line, client() as context:
        battery = BatteryMeter(meter, f"coap://127.0.0.1:{line.port}/senml", CBOR, seed=1, repeats=0.5)
        for hour in range(24):
            for minute in range(0, 60, 5):
                battery.read(at + hour * 3_600 + minute * 60)
        answer = await battery.push(context)
        assert answer.code.dotted == "2.04"
    volumes = recording.of("volume_total")
    assert [point.taken_at for point in volumes] == [(at + 300 * number) * 1000 for number in range(288)]
    assert len(recording.points) == 5 * 288
    assert line.counters.duplicates > 0
    assert {point.quality for point in recording.points} == {int(Quality.RESTORED)}


async def test_a_long_history_comes_by_blocks() -> None:
    recording, meter = Recording(), simulated()
    times = [now_s() - 60 * number for number in range(250, 0, -1)]
    payload = encode(meter.pack(times), JSON)
    assert len(payload) > 30 * 1024
    async with pushed_to(recording) as line, client() as context:
        answer = await post(context, line, "senml", payload, JSON)
        assert answer.code.dotted == "2.04"
        assert line.stats.devices[0].answers == 1
    assert [point.taken_at for point in recording.of("volume_total")] == [at * 1000 for at in times]


async def test_a_pack_that_says_it_is_too_large_is_refused_at_its_first_block() -> None:
    recording = Recording()
    async with pushed_to(recording) as line, client() as context:
        answer = await post(context, line, "m/w-2", b"[" + b" " * MAX_BYTES, JSON)
        assert answer.code.dotted == "4.13"
        assert answer.payload == b"expected at most 65536 bytes"
        assert line.stats.devices[1].malformed == 1
        answer = await post(context, line, "m/w-2", b" " * (MAX_BYTES - len(pack("1.5"))) + pack("1.5"), JSON)
        assert answer.code.dotted == "2.04"
    assert len(recording.points) == 1


async def test_blocks_without_end_are_refused_at_the_limit() -> None:
    async with pushed_to(Recording()) as line:
        wire = Datagrams(line.port)
        codes = []
        for number in range(66):
            # Block1 (27, so 15 after Content-Format) in two bytes: number, more to come, blocks of 1024.
            block = b"\xd2\x02" + (number << 4 | 0x0E).to_bytes(2, "big")
            head = b"\x41\x02" + number.to_bytes(2, "big") + b"\x09\xb1m\x03w-2\x11\x6e"
            await wire.send(head + block + b"\xff" + b" " * 1024)
            answer = await wire.receive()
            assert answer is not None
            codes.append(answer[1])
        wire.close()
    assert codes == [0x5F] * 64 + [0x8D] * 2  # 2.31 Continue, then 4.13


@pytest.mark.parametrize(
    ("path", "payload", "content_format", "code", "reason"),
    [
        ("m/w-2", b"[", JSON, "4.00", "character 1: expected JSON"),
        ("m/w-2", b'[{"n":"volume","u":"m3"}]', JSON, "4.00", "record 0: expected exactly one of v"),
        ("m/w-2", b'[{"n":"volume","u":"l","v":1}]', JSON, "4.00", "volume u: expected the unit 'm3', found 'l'"),
        ("m/w-2", b'[{"n":"power","u":"W","v":1}]', JSON, "4.00", "payload: expected a record named volume"),
        ("m/w-2", b'[{"n":"volume","u":"m3","v":1,"x_":1}]', JSON, "4.00", "that must be understood"),
        ("m/w-2", b"\x9f", CBOR, "4.00", "byte 1: expected 1 more bytes"),
        ("m/w-2", b"[]", 50, "4.15", "expected content format 110 or 112"),
        ("m/w-2", b"[]", None, "4.15", "expected content format 110 or 112"),
        ("senml", b"[", JSON, "4.00", "character 1: expected JSON"),
    ],
)  # fmt: skip
async def test_bad_packs_are_refused_with_the_reason(
    path: str, payload: bytes, content_format: int | None, code: str, reason: str
) -> None:
    recording = Recording()
    async with pushed_to(recording) as line, client() as context:
        answer = await post(context, line, path, payload, content_format)
        assert answer.code.dotted == code
        assert reason in answer.payload.decode()
        malformed = line.stats.devices[1].malformed if path != "senml" else line.counters.malformed
        assert malformed == 1
        assert line.stats.devices[1].answers == 0
        assert (line.stats.devices[1].last_error != "") is (code == "4.00" and path != "senml")
    assert recording.points == []


@pytest.mark.parametrize("path", ["m/w-3", "m", "m/w-2/x", "other", "", ".well-known/core"])
async def test_unknown_devices_and_paths_are_refused(path: str) -> None:
    recording = Recording()
    async with pushed_to(recording) as line, client() as context:
        answer = await post(context, line, path, pack("1"), JSON)
        assert answer.code.dotted == "4.04"
        assert line.counters.unknown == (path == "m/w-3")
        got = await context.request(Message(code=GET, uri=f"coap://127.0.0.1:{line.port}/{path}")).response
        assert got.code.dotted == "4.05"
    assert recording.points == []


async def test_a_concentrator_sends_for_many_and_strangers_are_left_out() -> None:
    recording, at = Recording(), now_s()
    other = "urn:dev:mac:0024befffe804ff2:"
    devices = [{"id": f"w-{n}", "template": "gatemeter-coap-water", "name": name} for n, name in ((1, URN), (3, other))]
    records = [
        {"bn": URN, "bt": at, "n": "volume", "u": "m3", "v": 1},
        {"bn": other, "n": "volume", "u": "m3", "v": 2},
        {"bn": "urn:dev:mac:stranger:", "n": "volume", "u": "m3", "v": 3},
    ]
    async with pushed_to(recording, devices=devices) as line, client() as context:
        answer = await post(context, line, "senml", json.dumps(records).encode(), JSON)
        assert answer.code.dotted == "2.04"
        assert line.counters.unknown == 1
        answer = await post(context, line, "senml", json.dumps(records[2:]).encode(), JSON)
        assert answer.code.dotted == "4.04"
        records[1]["u"] = "l"
        answer = await post(context, line, "senml", json.dumps(records).encode(), JSON)
        assert answer.code.dotted == "4.00"
        assert [stats.malformed for stats in line.stats.devices] == [0, 1]
    assert [(point.device, point.value) for point in recording.points] == [("w-1", 1_000_000), ("w-3", 2_000_000)]


async def test_tokens_are_asked_for_where_there_are_any(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("w-1 correct-horse\nw-2 battery-staple\n")
    recording, at = Recording(), now_s()
    async with pushed_to(recording, tokens_file=file) as line, client() as context:
        for path in ("m/w-2", "m/w-2?token=correct-horse", "m/w-2?token=", "senml?token=battery-staple"):
            answer = await post(context, line, path, pack("1", at, URN if path[0] == "s" else ""), JSON)
            assert answer.code.dotted == "4.01", path
        assert recording.points == []
        assert line.counters.unknown == 4
        for path in ("m/w-2?token=battery-staple", "senml?token=correct-horse"):
            answer = await post(context, line, path, pack("1", at, URN if path[0] == "s" else ""), JSON)
            assert answer.code.dotted == "2.04", path
    assert [point.device for point in recording.points] == ["w-2", "w-1"]


async def test_a_meter_without_a_clock_is_read_all_the_same() -> None:
    recording = Recording()
    since_start = b'[{"bn":"volume","bu":"m3","bt":300000000,"v":1,"t":-60},{"v":2,"t":-30},{"v":3}]'
    relative = b'[{"bn":"volume","bu":"m3","v":4,"t":-3600},{"v":5}]'
    before = int(time.time() * 1000)
    async with pushed_to(recording) as line, client() as context:
        for payload in (since_start, relative):
            answer = await post(context, line, "m/w-2", payload, JSON)
            assert answer.code.dotted == "2.04"
        assert line.counters.refused_times == 2
    after = int(time.time() * 1000) + 2
    assert [(point.value // 10**6, point.quality) for point in recording.points] == [
        (3, int(Quality.ESTIMATED_CLOCK)),
        (4, int(Quality.RESTORED)),
        (5, 0),
    ]
    broken, hour_ago, now = (point.taken_at for point in recording.points)
    assert before <= broken < now <= after
    assert hour_ago == now - 3_600_000


async def test_the_outbox_has_what_is_acknowledged(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.db", 1_000_000)

    async def record_durably(points: Sequence[Point]) -> None:
        await outbox.put(Up.READINGS, encode_body(points))

    recording = Recording()
    recording.record = record_durably  # type: ignore[method-assign]
    async with pushed_to(recording) as line, client() as context:
        answer = await post(context, line, "m/w-2", pack("1.5"), JSON)
        rows = await outbox.waiting(0, 10)
        assert answer.code.dotted == "2.04"
    assert [point.value for row in rows for point in decode_points(row.body)] == [1_500_000]
    outbox.close()


async def test_what_could_not_be_recorded_is_not_acknowledged_and_may_come_again() -> None:
    recording, at = Recording(), now_s()
    works = recording.record

    async def fails(points: Sequence[Point]) -> None:
        raise OSError("disk")

    recording.record = fails  # type: ignore[method-assign]
    async with pushed_to(recording) as line, client() as context:
        answer = await post(context, line, "m/w-2", pack("1.5", at), JSON)
        assert answer.code.dotted == "5.00"
        line._intake._record = works
        answer = await post(context, line, "m/w-2", pack("1.5", at), JSON)
        assert answer.code.dotted == "2.04"
        assert line.stats.devices[1].answers == 1
    assert len(recording.points) == 1


async def test_stopping_finishes_what_is_at_hand_and_takes_no_more() -> None:
    recording = Recording()
    recording.block()
    async with client() as context, client() as late, pushed_to(recording) as line:
        first = asyncio.ensure_future(post(context, line, "m/w-2", pack("1.5"), JSON))
        await until(lambda: recording.waiting)
        line.stop()
        refused = await post(late, line, "m/w-1", pack("1.5", None, URN), JSON)
        assert refused.code.dotted == "5.03"
        assert refused.opt.max_age == 30
        recording.release()
        assert (await first).code.dotted == "2.04"
    assert [point.device for point in recording.points] == ["w-2"]


async def test_too_many_at_once_are_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_WAITING", 1)
    recording = Recording()
    recording.block()
    async with pushed_to(recording) as line, client() as context, client() as late:
        first = asyncio.ensure_future(post(context, line, "m/w-2", pack("1.5"), JSON))
        await until(lambda: recording.waiting)
        refused = await post(late, line, "m/w-1", pack("1.5", None, URN), JSON)
        assert refused.code.dotted == "5.03"
        recording.release()
        await first


async def test_uploads_that_are_begun_and_left_take_a_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "MAX_UPLOADS", 2)
    async with pushed_to(Recording()) as line, client() as context:
        answers = [await post(context, line, "m/w-2", b" " * 2_000 + pack("1.5"), JSON) for _ in range(3)]
        assert [answer.code.dotted for answer in answers] == ["2.04", "2.04", "5.03"]
        assert (await post(context, line, "m/w-2", pack("1.5"), JSON)).code.dotted == "2.04"


@pytest.mark.parametrize("code", [2, 3, 5, 6], ids=["POST", "PUT", "FETCH", "PATCH"])
async def test_only_packs_are_put_together(code: int) -> None:
    async with pushed_to(Recording()) as line:
        wire = Datagrams(line.port)
        # Uri-Path m, w-2; Content-Format; Block1: number 0, more to come, blocks of 1024.
        await wire.send(bytes([0x41, code]) + b"\0\x01\x09\xb1m\x03w-2\x11\x6e\xd1\x02\x0e\xff" + b" " * 1024)
        answer = await wire.receive()
        assert answer is not None
        assert answer[1] == (0x5F if code == 2 else 0x85)  # 2.31 Continue, 4.05 Method Not Allowed


async def test_a_port_that_is_taken_is_never_shared_and_is_tried_again() -> None:
    holder = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    holder.bind(("127.0.0.1", 0))
    line = server_line(Recording(), holder.getsockname()[1])
    async with running(line):
        await until(lambda: line.stats.connect_failures)
        assert (line.port, line.stats.connects) == (0, 0)
        holder.close()
        await until(lambda: line.port)
        assert line.stats.connects == 1


async def test_arbitrary_datagrams_do_no_harm() -> None:
    recording = Recording()
    async with pushed_to(recording) as line, client() as context:
        wire = Datagrams(line.port)
        for data in (b"", b"\x00", b"\x40\x02", b"\xff" * 900, confirmable(1, b"[")[:9], confirmable(2, b"")):
            await wire.send(data)
        answer: Any = await post(context, line, "m/w-2", pack("1.5"), JSON)
        assert answer.code.dotted == "2.04"
        wire.close()
    assert len(recording.points) == 1
