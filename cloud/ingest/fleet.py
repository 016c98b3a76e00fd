"""Several ingest workers, each its own process, that share what the broker has for them."""

import asyncio
import os
import sys
from typing import Final

import structlog

from cloud.ingest.settings import IngestSettings
from cloud.settings import PREFIX

SHARED: Final = "$share/ingest/"
_PATIENCE_S: Final = 40.0
"""What a worker may take to store what it holds before it is killed."""
_WAIT_BEFORE_RESTART_S: Final = 1.0

_log = structlog.get_logger(__name__)


async def run_fleet(workers: int, settings: IngestSettings, stop: asyncio.Event) -> None:
    """Keeps `workers` processes running until `stop` is set; one that dies is started again.

    Each message goes to one of them. What a dead one had not committed its gateway sends again.
    """
    async with asyncio.TaskGroup() as tasks:
        for nth in range(workers):
            tasks.create_task(_keep_running(environment_of(settings, nth), nth, stop))


def environment_of(settings: IngestSettings, nth: int) -> dict[str, str]:
    """What differs between the workers: a port and a file of their own."""
    environment = {f"{PREFIX}INGEST_SUBSCRIPTION_PREFIX": settings.subscription_prefix or SHARED}
    if settings.metrics_port is not None:
        environment[f"{PREFIX}INGEST_METRICS_PORT"] = str(settings.metrics_port + nth)
    if settings.ready_file is not None:
        environment[f"{PREFIX}INGEST_READY_FILE"] = f"{settings.ready_file}.{nth}"
    return environment


async def _keep_running(environment: dict[str, str], nth: int, stop: asyncio.Event) -> None:
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "cloud.cli", "ingest", "run", env={**os.environ, **environment}
        )
        ending = asyncio.create_task(process.wait())
        await asyncio.wait((ending, stopping), return_when=asyncio.FIRST_COMPLETED)
        if stop.is_set():
            await _stop(process)
            return
        _log.warning("ingest.worker_ended", worker=nth, code=ending.result())
        await asyncio.wait((stopping,), timeout=_WAIT_BEFORE_RESTART_S)


async def _stop(process: asyncio.subprocess.Process) -> None:
    process.terminate()
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()
