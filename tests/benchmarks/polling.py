"""Polls per second of a gateway's Modbus TCP lines against a bare asyncio loop that asks the same questions.

Both ask a peer in another process that answers with ready-made bytes, at once or after 5 ms, so the peer is not what is
measured. The bare loop decodes nothing and stores nothing; ours judges every reply, decodes it to integers, makes
points and hands them to the recorder.
"""

import asyncio
import struct
from collections.abc import Sequence
from time import perf_counter, process_time
from typing import Final, cast

from gateway.drivers.settings import ModbusTcpLineSettings
from tests.benchmarks.measure import Bound, Measure
from tests.benchmarks.meters import FUNCTION, REGISTERS, VALUES, Polled, devices, poll_flat_out
from tests.benchmarks.peers import Manners, running_peers

_LINES: Final = 20
_METERS_PER_LINE: Final = 10
_SECONDS: Final = 3.0
_AFFORDABLE_S: Final = 0.03
"""Processor time for 1,000 points that the project promises."""


async def _ours(ports: Sequence[int]) -> Polled:
    lines = [
        ModbusTcpLineSettings(
            name=f"line-{number}",
            protocol="modbus-tcp",
            host="127.0.0.1",
            port=port,
            devices=devices(number, _METERS_PER_LINE),
        )
        for number, port in enumerate(ports)
    ]
    return await poll_flat_out(lines, _SECONDS)


class _BareClient(asyncio.Protocol):
    answer: "asyncio.Future[bytes]"

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.answer.set_result(data)


async def _bare(ports: Sequence[int]) -> Polled:
    loop = asyncio.get_running_loop()
    deadline = perf_counter() + _SECONDS
    visits = 0

    async def line(port: int) -> None:
        nonlocal visits
        transport, client = await loop.create_connection(_BareClient, "127.0.0.1", port)
        transaction = 0
        while perf_counter() < deadline:
            for unit in range(1, _METERS_PER_LINE + 1):
                transaction = (transaction + 1) & 0xFFFF
                client.answer = loop.create_future()
                transport.write(struct.pack(">HHHBBHH", transaction, 0, 6, unit, FUNCTION, 0, REGISTERS))
                await client.answer
                visits += 1
        transport.close()

    started, used = perf_counter(), process_time()
    await asyncio.gather(*(line(port) for port in ports))
    return Polled(visits / (perf_counter() - started), 1_000 * (process_time() - used) / (visits * VALUES))


def run() -> list[Measure | Bound]:
    """Bare, ours, bare again, for each kind of peer: the reference is the better of its two runs."""
    measures: list[Measure | Bound] = []
    for delay_s in (0.005, 0.0):
        before, ours, after = _compared(delay_s)
        peer = f"devices that take {delay_s * 1000:g} ms" if delay_s else "devices that take no time"
        name = f"Modbus TCP, {_LINES} lines of {_METERS_PER_LINE} meters, 12 values in a read, {peer}"
        bare = max(before.visits_per_s, after.visits_per_s)
        measures.append(Measure(name, ours.visits_per_s, "bare asyncio loop", bare, "polls", 0.7 if delay_s else None))
        measures.append(Bound("the same, processor time for 1,000 points", ours.cpu_s, "s", _AFFORDABLE_S))
    return measures


def _compared(delay_s: float) -> tuple[Polled, Polled, Polled]:
    with running_peers(_LINES, Manners(delay_s)) as ports:
        return asyncio.run(_bare(ports)), asyncio.run(_ours(ports)), asyncio.run(_bare(ports))
