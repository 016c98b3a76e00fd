"""Polls per second of a gateway's lines against a bare asyncio loop that asks the same questions.

Both ask a peer in another process that answers at once with ready-made bytes, so the peer is not what is measured.
The bare loop decodes nothing and stores nothing; ours judges every reply, decodes it to integers, makes points and
hands them to the recorder.
"""

import asyncio
import struct
from collections.abc import Awaitable, Sequence
from time import perf_counter
from typing import Final

from gateway.contract.topics import Up
from gateway.drivers.base import Group
from gateway.drivers.modbus.meter import compile_template
from gateway.drivers.settings import DeviceSettings, ModbusTcpLineSettings
from gateway.lines import modbus_tcp
from gateway.polling.clock import Clock
from gateway.polling.recorder import Recorder
from gateway.polling.worker import LineWorker
from gateway.templates.library import Library
from tests.benchmarks.measure import Measure
from tests.benchmarks.peers import running_peers
from tests.templates import modbus

_TEMPLATE: Final = "gatemeter-demo-electricity"
_LINES: Final = 4
_METERS_PER_LINE: Final = 10
_SECONDS: Final = 4.0


class _Nowhere:
    """Stands where the outbox stands: the outbox has a benchmark of its own."""

    def __init__(self) -> None:
        self.batches = 0

    def put(self, kind: Up, body: bytes) -> Awaitable[int]:
        del kind, body
        self.batches += 1
        done: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        done.set_result(self.batches)
        return done


async def _ours(ports: Sequence[int]) -> float:
    library = Library()
    recorder = Recorder(_Nowhere(), 200, 1.0)
    clock = Clock()
    workers = []
    for number, port in enumerate(ports):
        devices = tuple(
            DeviceSettings(id=f"m-{number}-{unit}", template=_TEMPLATE, unit_id=unit)
            for unit in range(1, _METERS_PER_LINE + 1)
        )
        settings = ModbusTcpLineSettings(
            name=f"line-{number}", protocol="modbus-tcp", host="127.0.0.1", port=port, devices=devices
        )
        line, meters = modbus_tcp(settings, library)
        periods = [{Group.BILLING: 1, Group.INSTANT: 1} for _ in meters]
        workers.append(LineWorker(f"line-{number}", line, meters, periods, clock, recorder.record))
    storing = asyncio.create_task(recorder.run())
    polling = [asyncio.create_task(worker.run()) for worker in workers]
    started = perf_counter()
    await asyncio.sleep(_SECONDS)
    visits = sum(worker.stats.visits for worker in workers)
    elapsed = perf_counter() - started
    for worker in workers:
        worker.stop()
    await asyncio.gather(*polling)
    recorder.close()
    await storing
    return visits / elapsed


async def _bare(ports: Sequence[int]) -> float:
    blocks = [decoder.block for decoder in compile_template(modbus(_TEMPLATE))[frozenset(Group)]]
    deadline = perf_counter() + _SECONDS
    visits = 0

    async def line(port: int) -> None:
        nonlocal visits
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        transaction = 0
        while perf_counter() < deadline:
            for unit in range(1, _METERS_PER_LINE + 1):
                for block in blocks:
                    transaction = (transaction + 1) & 0xFFFF
                    writer.write(
                        struct.pack(">HHHBBHH", transaction, 0, 6, unit, block.function, block.address, block.count)
                    )
                    await reader.readexactly(9 + 2 * block.count)
                visits += 1
        writer.close()

    started = perf_counter()
    await asyncio.gather(*(line(port) for port in ports))
    return visits / (perf_counter() - started)


def run() -> list[Measure]:
    """Bare, ours, bare again: the reference is the better of its two runs."""
    with running_peers(_LINES) as ports:
        before = asyncio.run(_bare(ports))
        ours = asyncio.run(_ours(ports))
        after = asyncio.run(_bare(ports))
    name = f"Modbus TCP, {_LINES} lines of {_METERS_PER_LINE} meters, all channels"
    return [Measure(name, ours, "bare asyncio loop", max(before, after), "polls")]
