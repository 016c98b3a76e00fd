"""The gateway as a process: refuses a wrong site, records without a cloud, ends cleanly and keeps everything."""

import asyncio
import json
import os
import signal
import sys
import urllib.request
from pathlib import Path

import yaml

from gateway.contract.codec import decode_gaps, decode_health, decode_points
from gateway.contract.messages import GapReason, Point
from gateway.contract.topics import Up
from gateway.outbox import Outbox
from gateway.settings import load_site
from simulators.modbus.fleet import Fleet, FleetOptions
from simulators.modbus.meter import Served
from tests.integration.broker import Mosquitto
from tests.integration.modbus.fleet import until
from tests.ports import free_ports
from tests.unit.gateway.outbox.bodies import put_out_of_step

RUN = "from gateway.cli import app; app()"


def site_file(tmp_path: Path) -> Path:
    meters, water, broker, health = free_ports(4)
    site = {
        "project": "demo",
        "gateway": "gw-1",
        "state_directory": str(tmp_path / "state"),
        "broker": {"host": "127.0.0.1", "port": broker, "drain_s": 0.2},
        "health_port": health,
        "periods": {"billing_s": 0.2, "instant_s": 0.1},
        "recorder": {"max_points": 50, "linger_s": 0.1},
        "lines": [
            {
                "name": name,
                "protocol": "modbus-tcp",
                "host": "127.0.0.1",
                "port": port,
                "device_series": [{"id": f"{name}-{{n}}", "template": template, "ranges": {"n": "1..4"}}],
            }
            for name, port, template in (
                ("e", meters, "gatemeter-demo-electricity"),
                ("w", water, "gatemeter-demo-water"),
            )
        ],
    }
    file = tmp_path / "site.yaml"
    file.write_text(yaml.safe_dump(site), encoding="utf-8")
    return file


async def start(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-c", RUN, *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )


async def stored(path: Path) -> tuple[list[Point], int]:
    """(points, health reports) that wait in the outbox."""
    outbox = Outbox.open(path, 10_000_000)
    try:
        rows = await outbox.waiting(0, 10_000)
    finally:
        outbox.close()
    points = [point for row in rows if row.kind is Up.READINGS for point in decode_points(row.body)]
    reports = [decode_health(row.body) for row in rows if row.kind is Up.HEALTH]
    return points, len(reports)


async def test_every_served_billing_value_is_in_the_outbox_after_a_clean_stop(tmp_path: Path) -> None:
    file, log = site_file(tmp_path), tmp_path / "served.jsonl"
    site = load_site(file)
    assert site.health_port is not None
    with log.open("w", buffering=1) as stream:
        fleet = Fleet(site, FleetOptions(advance=True), Served(stream))
        await fleet.start()
        process = await start("run", "--site", str(file))
        try:
            await until(lambda: log.stat().st_size > 60_000)
            url = f"http://127.0.0.1:{site.health_port}/metrics"
            metrics = (await asyncio.to_thread(lambda: urllib.request.urlopen(url).read())).decode()
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(60):
                _, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
            await fleet.stop()
    assert process.returncode == 0, errors.decode()
    served = [json.loads(line) for line in log.read_text().splitlines()]
    points, reports = await stored(tmp_path / "state" / "outbox.sqlite")
    assert reports >= 1
    wanted = sorted((one["device"], one["channel"], one["value"]) for one in served)
    assert sorted((point.device, point.channel, point.value) for point in points) == wanted
    keys = [(point.device, point.channel, point.taken_at) for point in points]
    assert len(keys) == len(set(keys))
    assert 'gatemeter_device_answers_total{device="e-1",line="e"}' in metrics


async def test_a_wrong_site_refuses_to_start_and_says_where(tmp_path: Path) -> None:
    file = site_file(tmp_path)
    file.write_text(file.read_text().replace("gateway: gw-1", "gatway: gw-1"))
    for command in (("run", "--site", str(file)), ("check-config", str(file))):
        process = await start(*command)
        _, errors = await process.communicate()
        assert process.returncode == 2
        assert f"{file}:" in errors.decode()
        assert "gatway: unknown key (did you mean 'gateway'?)" in errors.decode()
    process = await start("check-config", str(file), "--json")
    output, _ = await process.communicate()
    assert process.returncode == 2
    problems = json.loads(output)["problems"]
    assert {problem["key"] for problem in problems} == {"gatway", "gateway"}


async def test_a_missing_password_refuses_to_start(tmp_path: Path) -> None:
    file = site_file(tmp_path)
    site = yaml.safe_load(file.read_text())
    site["broker"] |= {"username": "u", "password_env": "GATEMETER_TEST_NOT_SET"}
    file.write_text(yaml.safe_dump(site))
    assert "GATEMETER_TEST_NOT_SET" not in os.environ
    process = await start("run", "--site", str(file))
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert "GATEMETER_TEST_NOT_SET" in errors.decode()


async def test_a_damaged_outbox_ends_the_process_and_the_next_start_is_clean(tmp_path: Path) -> None:
    file = site_file(tmp_path)
    path = tmp_path / "state" / "outbox.sqlite"
    path.parent.mkdir()
    outbox = Outbox.open(path, 10_000_000)
    for _ in range(10):
        await outbox.put(Up.HEALTH, b"[]")
    outbox.close()
    put_out_of_step(path, 5)
    site = load_site(file)
    broker = Mosquitto(tmp_path)
    broker.port = site.broker.port
    await broker.start()
    process = await start("run", "--site", str(file))
    try:
        async with asyncio.timeout(60):
            _, errors = await process.communicate()
    finally:
        broker.stop()
        if process.returncode is None:
            process.kill()
    assert process.returncode == 1
    assert "set aside as outbox.sqlite.damaged-" in errors.decode()
    again = Outbox.open(path, 10_000_000)
    stats = await again.stats()
    assert stats.damaged_files == 1
    assert stats.set_aside is not None
    await again.put(Up.HEALTH, b"[]")
    (told,) = [decode_gaps(row.body) for row in await again.waiting(0, 99, (Up.GAPS,))]
    assert told[0].reason is GapReason.DAMAGED_FILE
    again.close()
