"""Points delivered at the broker by a whole gateway process, against a bare asyncio loop that delivers nothing.

The gateway is the real one: polling, decoding, outbox with an fsync for every commit, MQTT with acknowledgements from
end to end. The bare loop sends the same requests to the same peers and looks at no byte of the answers. A second
reference is a bare loop of pymodbus that publishes nothing, by processor time.
"""

import asyncio
import multiprocessing
import struct
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

import aiomqtt
import psutil
from pymodbus.client import AsyncModbusTcpClient

from gateway.contract import WIRE_VERSION, codec, topics
from gateway.contract.messages import Ack
from gateway.contract.topics import Down, Up
from tests.acceptance.system import GATEWAY, PASSWORDS, PROJECT, System
from tests.benchmarks.measure import Measure
from tests.benchmarks.peers import Manners, running_peers

_CHANNELS: Final = (
    "energy_import_total", "energy_export_total", "power_active_total", "power_reactive_total", "voltage_l1",
    "voltage_l2", "voltage_l3", "current_l1", "current_l2", "current_l3", "frequency", "power_factor_total",
)  # fmt: skip
"""Twelve values of 32 bits in one read of 24 registers."""
_REGISTERS: Final = 2 * len(_CHANNELS)
_UNIT: Final = {"energy": "Wh", "power_active": "W", "power_reactive": "var", "voltage": "mV", "current": "mA"}
_METERS: Final = 10
_WARM_UP_S: Final = 3.0
_SECONDS: Final = 8.0


def _template() -> str:
    rows = []
    for number, channel in enumerate(_CHANNELS):
        unit = next((unit for prefix, unit in _UNIT.items() if channel.startswith(prefix)), None)
        unit = unit or {"frequency": "mHz"}.get(channel, "1/1000")
        rows.append(f'  - {{channel: {channel}, function: 3, address: {2 * number}, type: u32, unit: "{unit}"}}')
    head = "vendor: bench\nmodel: twelve\nmedium: electricity\nproven: simulator\n"
    head += "sources: [{reference: this benchmark, covers: all}]\ntransports: {modbus_tcp: {}}\nregisters:\n"
    return head + "\n".join(rows) + "\n"


def _site(ports: Sequence[int]) -> dict[str, Any]:
    return {
        "periods": {"billing_s": 0.001, "instant_s": 0.001},  # flat out
        "lines": [
            {
                "name": f"line-{number:02}",
                "protocol": "modbus-tcp",
                "host": "127.0.0.1",
                "port": port,
                "device_series": [
                    {"id": f"m-{number:02}-{{n}}", "template": "bench-twelve", "ranges": {"n": f"01..{_METERS}"}}
                ],
            }
            for number, port in enumerate(ports)
        ],
    }


async def _acknowledge(port: int, counted: Connection) -> None:
    """The cloud, as far as the gateway sees it: takes every batch, counts its points, acknowledges."""
    points = 0
    async with aiomqtt.Client(
        "127.0.0.1", port, username="cloud.ingest", password=PASSWORDS["ingest"], max_inflight_messages=1000
    ) as client:
        client.pending_calls_threshold = 10_000
        await client.subscribe(topics.up(PROJECT, GATEWAY, Up.READINGS).rsplit("/", 1)[0] + "/+", qos=1)
        counted.send("ready")
        down = topics.down(PROJECT, GATEWAY, Down.ACK)
        async for message in client.messages:
            envelope = codec.decode_envelope(message.payload)
            if message.topic.value.endswith("/readings"):
                points += len(codec.decode_points(envelope.body))
            await client.publish(down, codec.encode_ack(Ack(WIRE_VERSION, envelope.epoch, (envelope.seq,))), qos=0)
            while counted.poll():
                counted.recv()
                counted.send(points)


def _cloud(port: int, counted: Connection) -> None:
    asyncio.run(_acknowledge(port, counted))


@contextmanager
def _acknowledging(port: int) -> Iterator[Connection]:
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_cloud, args=(port, there), daemon=True)
    process.start()
    assert here.recv() == "ready"
    try:
        yield here
    finally:
        process.terminate()
        process.join()


def _asked(counted: Connection) -> int:
    counted.send("how many?")
    points: int = counted.recv()
    return points


def _gateway(ports: Sequence[int]) -> tuple[float, float]:
    """(points delivered per second, points delivered per second of the gateway's processor time)."""
    with tempfile.TemporaryDirectory(prefix="gmbench", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "templates").mkdir()
        (folder / "templates" / "bench-twelve.yaml").write_text(_template())
        system = System(folder, "host=/nowhere", {})
        try:
            system.broker.start()
            system.rewrite_site(_site(ports))
            with _acknowledging(system.broker.port) as counted:
                run = ("gateway", "run", "--site", str(system.site_file), "--templates", str(folder / "templates"))
                process = psutil.Process(system.start("gateway", *run, "--log-level", "warning"))
                time.sleep(_WARM_UP_S)
                before, cpu_before, began = _asked(counted), sum(process.cpu_times()[:2]), time.perf_counter()
                time.sleep(_SECONDS)
                points, cpu = _asked(counted) - before, sum(process.cpu_times()[:2]) - cpu_before
                elapsed = time.perf_counter() - began
                system.kill("gateway")
        finally:
            system.close()
    return points / elapsed, points / cpu


async def _bare(ports: Sequence[int]) -> float:
    """Requests per second of the simplest possible client."""
    deadline = time.perf_counter() + _SECONDS / 2
    requests = 0

    async def line(port: int) -> None:
        nonlocal requests
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        transaction = 0
        while time.perf_counter() < deadline:
            for unit in range(1, _METERS + 1):
                transaction = (transaction + 1) & 0xFFFF
                writer.write(struct.pack(">HHHBBHH", transaction, 0, 6, unit, 3, 0, _REGISTERS))
                await reader.readexactly(9 + 2 * _REGISTERS)
                requests += 1
        writer.close()

    began = time.perf_counter()
    await asyncio.gather(*(line(port) for port in ports))
    return requests / (time.perf_counter() - began)


async def _bare_pymodbus(ports: Sequence[int]) -> float:
    """Values per second of processor time of a loop of pymodbus that does nothing with them."""
    deadline = time.perf_counter() + _SECONDS / 2
    values = 0

    async def line(port: int) -> None:
        nonlocal values
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        await client.connect()
        while time.perf_counter() < deadline:
            for unit in range(1, _METERS + 1):
                reply = await client.read_holding_registers(0, count=_REGISTERS, device_id=unit)
                values += len(reply.registers) // 2
        client.close()

    began = time.process_time()
    await asyncio.gather(*(line(port) for port in ports))
    return values / (time.process_time() - began)


def run() -> list[Measure]:
    """Twenty lines of devices that take 5 ms, and one line of devices that take none."""
    measures: list[Measure] = []
    for lines, latency_s in ((20, 0.005), (1, 0.0)):
        with running_peers(lines, Manners(after_s=latency_s)) as ports:
            before = asyncio.run(_bare(ports))
            pymodbus = asyncio.run(_bare_pymodbus(ports))
            delivered, by_cpu = _gateway(ports)
            after = asyncio.run(_bare(ports))
        what = f"Modbus TCP to the broker, {lines} × {_METERS} meters of {latency_s * 1000:g} ms, 12 values a read"
        wanted = 0.7 if latency_s else None
        bare = max(before, after) * len(_CHANNELS)
        measures.append(Measure(what, delivered, "bare asyncio loop, nothing delivered", bare, "values", wanted))
        measures.append(Measure(what, by_cpu, "bare pymodbus loop, nothing published", pymodbus, "values", per="CPU-s"))
    return measures
