"""The gateway as a service of systemd: ready, watched over, stopping."""

import asyncio
import os
import signal
import socket
import sys
from pathlib import Path

from gateway.onsite.monitor import fetch
from gateway.settings import load_site
from tests.integration.gateway_process.test_run import RUN, site_file


async def test_systemd_hears_ready_the_watchdog_a_reload_and_the_end(tmp_path: Path) -> None:
    file, path = site_file(tmp_path), str(tmp_path / "notify")
    heard: list[bytes] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(path)
        systemd.setblocking(False)

        async def hears(wanted: bytes) -> None:
            async with asyncio.timeout(60):
                while not any(said.startswith(wanted) for said in heard):
                    heard.append(await asyncio.get_running_loop().sock_recv(systemd, 500))

        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", RUN, "run", "--site", str(file)),
            env={**os.environ, "NOTIFY_SOCKET": path, "WATCHDOG_USEC": "300000"},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await hears(b"READY=1")
            assert b"STOPPING=1" not in heard
            await hears(b"STATUS=2 lines, uplink ")
            await hears(b"WATCHDOG=1")
            port = load_site(file).health_port
            assert port is not None
            status = await asyncio.to_thread(fetch, port)
            assert ([line["line"] for line in status["lines"]], status["problems"]) == (["e", "w"], [])
            heard.clear()
            process.send_signal(signal.SIGHUP)
            await hears(b"RELOADING=1\nMONOTONIC_USEC=")
            await hears(b"READY=1")
            process.send_signal(signal.SIGTERM)
            await hears(b"STOPPING=1")
            async with asyncio.timeout(60):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
