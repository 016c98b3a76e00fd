"""The simulated fleet as a process."""

import asyncio
import json
import signal
import sys
from pathlib import Path

from gateway.drivers.modbus.framing import Rtu
from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.settings import BusLineSettings
from gateway.errors import LineDown
from gateway.lines import bus_of
from gateway.settings import load_site
from tests.integration.gateway_process.test_run import site_file
from tests.modbus_lines import tcp_line

RUN = "from simulators.modbus.cli import app; app()"


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(sys.executable, "-c", RUN, *arguments, stderr=asyncio.subprocess.PIPE)


async def test_serves_the_lines_of_a_site_and_logs_what_it_served(tmp_path: Path) -> None:
    file, log = site_file(tmp_path), tmp_path / "log" / "served.jsonl"
    process = await start("--site", str(file), "--seed", "5", "--served-log", str(log), "--advance")
    host, port = load_site(file).lines[0].endpoint[1].split(":")
    line = tcp_line(host, int(port), 30)
    try:
        async with asyncio.timeout(60):
            while not line.connected:
                try:
                    await line.connect()
                except LineDown:
                    await asyncio.sleep(0.05)
        high, low = await line.read(2, 3, 0, 2)
        line.close()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    (entry,) = (json.loads(text) for text in log.read_text().splitlines())
    assert (entry["device"], entry["channel"], entry["raw"]) == ("e-2", "energy_import_total", high << 16 | low)


async def test_refuses_what_makes_no_sense(tmp_path: Path) -> None:
    site = str(site_file(tmp_path))
    for arguments, told in (
        (["--site", site, "--time-zone", "Mars/Base"], "--time-zone: expected an IANA name"),
        (["--site", site, "--fault", "tired=0.5"], "--fault: expected NAME=RATE"),
        (["--site", site, "--fault", "silent=1.5"], "--fault: expected rates from 0 to 1"),
        (["--site", f"{site}.nothing"], "a readable file, found none"),
    ):
        process = await start(*arguments)
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert told in errors.decode()


async def test_serves_a_serial_port(tmp_path: Path) -> None:
    port, site = tmp_path / "ttyMETERS", tmp_path / "site.yaml"
    site.write_text(f"""
project: p
gateway: g
state_directory: state
broker: {{host: localhost}}
lines:
  - name: bus
    protocol: bus
    serial: {{path: {port}, baud_rate: 115200}}
    timeout_s: 30
    devices: [{{id: e-1, template: gatemeter-demo-electricity, unit_id: 1}}]
""")
    process = await start("--site", str(site), "--pty", "--turnaround-ms", "1")
    bus = load_site(site).lines[0]
    assert isinstance(bus, BusLineSettings)
    line = ModbusLine(bus_of(bus), Rtu())
    try:
        async with asyncio.timeout(60):
            while not port.is_char_device():
                await asyncio.sleep(0.05)
            assert len(await line.read(1, 3, 0, 2)) == 2
        line.close()
        process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(60):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
    assert not port.is_symlink()
