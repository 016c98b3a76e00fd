"""Nothing that the demo started outlives it, however it ends; logs stay bounded; the dead are started again."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from simulators.demo.child import Child, ChildFailed, ChildSpec
from simulators.demo.leash import BoundedLog

_LIMIT_S = 60.0
_NAPPER = "import os, sys, time; open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
_STUBBORN = (
    "import os, signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
    " open(sys.argv[1], 'w').write(str(os.getpid())); time.sleep(600)"
)
_PARENT = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1], sys.argv[2]]).wait()"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return False
    return state != "Z"


def until(condition: Callable[[], bool], limit_s: float = _LIMIT_S) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text().isdecimal())
    return int(path.read_text())


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_the_command_and_its_children_die_with_who_started_them(tmp_path: Path, how: signal.Signals) -> None:
    told = tmp_path / "pid"
    starter = (
        "import subprocess, sys, time;"
        "subprocess.Popen([sys.executable, '-m', 'simulators.demo.leash', *sys.argv[1:]], stdin=subprocess.PIPE,"
        " start_new_session=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", _PARENT, _NAPPER, str(told)]
    supervisor = subprocess.Popen([sys.executable, "-c", starter, str(tmp_path / "log"), *command])
    grandchild = pid_in(told)
    supervisor.send_signal(how)
    supervisor.wait()
    until(lambda: not alive(grandchild))


async def test_a_dead_child_is_reported_and_started_again(tmp_path: Path) -> None:
    told, reports = tmp_path / "pid", list[str]()
    child = Child(
        ChildSpec("napper", (sys.executable, "-c", _NAPPER, str(told))), tmp_path / "napper.log", reports.append
    )
    await child.start()
    first = await asyncio.to_thread(pid_in, told)
    told.unlink()
    os.kill(first, signal.SIGKILL)
    second = await asyncio.to_thread(pid_in, told)
    assert second != first
    assert child.restarts == 1
    assert len(reports) == 1
    assert "napper ended with exit code 137" in reports[0]
    await child.stop()
    assert not alive(second)


async def test_a_child_that_is_just_being_started_again_does_not_outlive_the_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told, spawn = tmp_path / "pid", asyncio.create_subprocess_exec
    child = Child(ChildSpec("napper", (sys.executable, "-c", _NAPPER, str(told))), tmp_path / "log", lambda _: None)
    await child.start()
    first = await asyncio.to_thread(pid_in, told)
    told.unlink()

    async def on_a_busy_machine(*command: str, **options: Any) -> asyncio.subprocess.Process:
        process = await spawn(*command, **options)
        await asyncio.to_thread(pid_in, told)
        await asyncio.sleep(0.2)
        return process

    monkeypatch.setattr(asyncio, "create_subprocess_exec", on_a_busy_machine)
    os.kill(first, signal.SIGKILL)
    second = await asyncio.to_thread(pid_in, told)
    await child.stop()
    assert not alive(second)


async def test_a_child_that_does_not_come_up_says_why(tmp_path: Path) -> None:
    async def never() -> bool:
        return False

    spec = ChildSpec("broken", (sys.executable, "-c", "print('no such port'); raise SystemExit(3)"), ready=never)
    child = Child(spec, tmp_path / "broken.log", lambda _: None)
    with pytest.raises(ChildFailed, match=r"(?s)exit code 3.*no such port"):
        await child.start()
    await child.stop()


async def test_a_stubborn_child_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEMETER_LEASH_PATIENCE_S", "0.5")
    told = tmp_path / "pid"
    child = Child(ChildSpec("stubborn", (sys.executable, "-c", _STUBBORN, str(told))), tmp_path / "log", lambda _: None)
    await child.start()
    pid = await asyncio.to_thread(pid_in, told)
    await child.stop()
    assert not alive(pid)


def test_a_log_keeps_two_files_of_its_size(tmp_path: Path) -> None:
    log = BoundedLog(tmp_path / "a.log", limit=100)
    for number in range(50):
        log.write(b"line %02d\n" % number)
    kept = [path.read_text() for path in (tmp_path / "a.log.1", tmp_path / "a.log")]
    assert all(len(text) <= 100 for text in kept)
    assert kept[1].endswith("line 49\n")
    assert len(list(tmp_path.iterdir())) == 2
