"""What a real gateway process takes: 1,000 devices on 50 lines, 12 values each every 15 s, outbox, broker and all.

Peers, broker and the cloud's end, which acknowledges every batch, are other processes. Measured after the start.
"""

import asyncio
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import psutil

from gateway.contract.quantities import BY_CODE, Kind
from tests.benchmarks.measure import Measure
from tests.benchmarks.peers import running_peers
from tests.integration.broker import Mosquitto, running_mosquitto
from tests.integration.uplink.cloud import GATEWAY, PROJECT, running_cloud

_LINES: Final = 50
_METERS_PER_LINE: Final = 20
_VALUES: Final = 12
_PERIOD_S: Final = 15.0
_STARTING_S: Final = 20.0
"""Until every device was read at least once."""
_SECONDS: Final = 30.0
_MOST_CPU: Final = 0.25
_MOST_MB: Final = 150.0


def _template() -> dict[str, Any]:
    """A meter with 12 values in one block."""
    codes = [code for code, one in BY_CODE.items() if one.kind is not Kind.STATE][: _VALUES // 2]
    codes += [f"{what}_l{phase}" for what in ("voltage", "current") for phase in (1, 2, 3)]
    units = {"mV": "V", "mA": "A"}
    return {
        "vendor": "gatemeter",
        "model": "bench",
        "medium": "electricity",
        "proven": "simulator",
        "sources": [{"reference": "this benchmark", "covers": "all registers"}],
        "transports": {"modbus_tcp": {}},
        "registers": [
            {
                "channel": code,
                "function": 3,
                "address": 2 * position,
                "type": "u32",
                "unit": units.get(BY_CODE[code].unit, BY_CODE[code].unit),
                "scale": "1",
            }
            for position, code in enumerate(codes)
        ],
    }


def _site(folder: Path, broker: Mosquitto, ports: Sequence[int]) -> dict[str, Any]:
    return {
        "project": PROJECT,
        "gateway": GATEWAY,
        "state_directory": str(folder / "state"),
        "broker": {"host": broker.host, "port": broker.port},
        "periods": {"billing_s": _PERIOD_S, "instant_s": _PERIOD_S},
        "lines": [
            {
                "name": f"line-{number}",
                "protocol": "modbus-tcp",
                "host": "127.0.0.1",
                "port": port,
                "device_series": [
                    {"id": f"m-{number}-{{n}}", "template": "bench", "ranges": {"n": f"01..{_METERS_PER_LINE}"}}
                ],
            }
            for number, port in enumerate(ports)
        ],
    }


async def _measure(folder: Path, ports: Sequence[int]) -> list[Measure]:
    templates = folder / "templates"
    templates.mkdir()
    (templates / "bench.yaml").write_text(json.dumps(_template()), encoding="utf-8")  # JSON is YAML too
    async with running_mosquitto() as broker, running_cloud(broker) as cloud:
        site = folder / "site.yaml"
        site.write_text(json.dumps(_site(folder, broker, ports)), encoding="utf-8")
        command = [sys.executable, "-c", "from gateway.cli import app; app()", "run", "--log-level", "warning"]
        gateway = subprocess.Popen([*command, "--site", str(site), "--templates", str(templates)])
        try:
            await asyncio.sleep(_STARTING_S)
            process = psutil.Process(gateway.pid)
            before, seen = process.cpu_times(), len(cloud.received)
            await asyncio.sleep(_SECONDS)
            after, batches = process.cpu_times(), len(cloud.received) - seen
            megabytes = process.memory_info().rss / 1e6
        finally:
            gateway.terminate()
            gateway.wait(30)
    cpu = (after.user + after.system - before.user - before.system) / _SECONDS
    offered = _LINES * _METERS_PER_LINE * _VALUES / _PERIOD_S
    if batches * 200 < 0.9 * offered * _SECONDS:
        raise AssertionError(f"only {batches} batches came")
    devices = _LINES * _METERS_PER_LINE
    name = f"{devices:,} devices, {_VALUES} values every {_PERIOD_S:g} s"
    return [
        Measure(
            f"{name}: {cpu:.3f} of a core", offered / cpu, "0.25 of a core", offered / _MOST_CPU, "points", 1.0, "CPU-s"
        ),
        Measure(f"{name}: {megabytes:.0f} MB", devices / megabytes, "150 MB", devices / _MOST_MB, "devices", 1.0, "MB"),
    ]


def run() -> list[Measure]:
    """One run of about a minute."""
    with tempfile.TemporaryDirectory(prefix="gmbench") as folder, running_peers(_LINES) as ports:
        return asyncio.run(_measure(Path(folder), ports))
