"""One process of the demo: started on a leash, watched, started again when it dies."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 30.0
_PROVEN_AFTER_S: Final = 20.0
"""A process that lived this long is started again without the growing wait."""
_STOP_LIMIT_S: Final = 30.0


class ChildFailed(RuntimeError):
    """A process did not become ready; the message ends with the last lines of its log."""


@dataclass(frozen=True, slots=True)
class ChildSpec:
    """What to run. Secrets go by `environment`, never by `command`, which every user of the machine can read."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], Awaitable[bool]] | None = None
    """Asked again and again until it says yes; a child without it is ready once it runs."""
    ready_limit_s: float = 40.0


class Child:
    """A supervised process. `report` is told of every death."""

    def __init__(self, spec: ChildSpec, log: Path, report: Callable[[str], None]) -> None:
        self.spec = spec
        self.log = log
        self.restarts = 0
        self._report = report
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self._watch: asyncio.Task[None] | None = None
        self._spawning = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """Process id of the leash, which the command's own process is a child of."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Starts it, again after a stop too, and returns when it is ready. Raises ChildFailed."""
        self._stopping = False
        await self._spawn()
        deadline = asyncio.get_running_loop().time() + self.spec.ready_limit_s
        while self.spec.ready is not None and not await self.spec.ready():
            assert self._process is not None
            if self._process.returncode is not None:
                raise ChildFailed(f"{self.spec.name} ended with exit code {self._process.returncode}\n{self._tail()}")
            if asyncio.get_running_loop().time() > deadline:
                raise ChildFailed(
                    f"{self.spec.name} is not ready after {self.spec.ready_limit_s:.0f} s\n{self._tail()}"
                )
            await asyncio.sleep(0.05)
        self._watch = asyncio.create_task(self._keep_alive(), name=f"watch {self.spec.name}")

    async def stop(self) -> None:
        """Asks it to end and waits; whatever is left of it is killed."""
        self._stopping = True
        if self._watch is not None:
            # Given up in the middle of it, a process that is just being started would be nobody's.
            async with self._spawning:
                self._watch.cancel()
            await asyncio.gather(self._watch, return_exceptions=True)
        process = self._process
        if process is None or process.returncode is not None:
            return
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_LIMIT_S):
                await process.wait()
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """It does not run within the block."""
        await self.stop()
        yield
        await self.start()

    async def _spawn(self) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "simulators.demo.leash",
            str(self.log),
            *self.spec.command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            env={**os.environ, **self.spec.environment},
            start_new_session=True,
        )

    async def _keep_alive(self) -> None:
        loop = asyncio.get_running_loop()
        wait = _FIRST_WAIT_S
        while not self._stopping:
            assert self._process is not None
            started = loop.time()
            code = await self._process.wait()
            wait = _FIRST_WAIT_S if loop.time() - started > _PROVEN_AFTER_S else min(wait * 2, _LONGEST_WAIT_S)
            self._report(
                f"{self.spec.name} ended with exit code {code}, starting it again in {wait:.0f} s; see {self.log}"
            )
            await asyncio.sleep(wait)
            async with self._spawning:
                self.restarts += 1
                await self._spawn()

    def _tail(self) -> str:
        try:
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        except OSError:
            return ""
