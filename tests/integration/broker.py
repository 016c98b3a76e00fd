"""A mosquitto of one's own for a test: free port, passwords and ACL on demand, to be killed and restarted."""

import asyncio
import contextlib
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import aiomqtt
import pytest
import pytest_asyncio

from tests.ports import free_port

_STARTUP_LIMIT_S = 60.0


def find_mosquitto() -> str | None:
    """Path of the mosquitto binary; Debian keeps it outside the PATH of ordinary users."""
    return shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")


@dataclass(frozen=True)
class Tls:
    """Files of a broker that speaks TLS only; with `client_ca` it wants a certificate of every client."""

    cert: Path
    key: Path
    client_ca: Path | None = None


class Mosquitto:
    """One broker process. Without `users` everybody may do everything.

    `users` maps names to passwords; `acl` is the text of an ACL file. `host` and `port` stay over restarts.
    """

    def __init__(
        self, directory: Path, users: Mapping[str, str] | None = None, acl: str = "", tls: Tls | None = None
    ) -> None:
        self.host = "127.0.0.1"
        self.port = free_port()
        self._directory = directory
        self._users = dict(users or {})
        self._acl = acl
        self._tls = tls
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Process id of the running broker."""
        assert self._process is not None, "not running"
        return self._process.pid

    async def start(self) -> None:
        """Starts the broker and returns when it accepts connections."""
        assert self._process is None, "already running"
        binary = find_mosquitto()
        assert binary is not None, "mosquitto is not installed"
        config = self._write_config()
        with (self._directory / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen([binary, "-c", str(config)], stdout=log, stderr=log)
        deadline = time.monotonic() + _STARTUP_LIMIT_S
        while not await self._accepts():
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"mosquitto did not start:\n{self.log()}")
            await asyncio.sleep(0.02)

    def kill(self) -> None:
        """Ends it as a power cut would: SIGKILL."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ends it politely."""
        self._end(signal.SIGTERM)

    async def restart(self) -> None:
        """Stops and starts it on the same port."""
        self.stop()
        await self.start()

    def log(self) -> str:
        """What the broker wrote."""
        return (self._directory / "mosquitto.log").read_text(errors="replace")

    def client(self, username: str | None = None) -> aiomqtt.Client:
        """A fresh client of this broker, with the password of `username`."""
        return aiomqtt.Client(
            self.host,
            self.port,
            username=username,
            password=self._users[username] if username else None,
            identifier=f"test-{secrets.token_hex(6)}",
            socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        )

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        self._process.wait(timeout=60)
        self._process = None

    async def _accepts(self) -> bool:
        try:
            _, writer = await asyncio.open_connection(self.host, self.port)
        except OSError:
            return False
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
        return True

    def _write_config(self) -> Path:
        lines = [f"listener {self.port} {self.host}", "persistence false", "set_tcp_nodelay true"]
        if self._users:
            lines += ["allow_anonymous false", f"password_file {self._password_file()}"]
        else:
            lines += ["allow_anonymous true"]
        if self._acl:
            acl = self._directory / "acl"
            acl.write_text(self._acl, encoding="utf-8")
            lines += [f"acl_file {acl}"]
        if self._tls is not None:
            lines += [f"certfile {self._readable(self._tls.cert)}", f"keyfile {self._readable(self._tls.key)}"]
            if self._tls.client_ca is not None:
                lines += [f"cafile {self._readable(self._tls.client_ca)}", "require_certificate true"]
        config = self._directory / "mosquitto.conf"
        config.write_text("\n".join(lines) + "\n", encoding="utf-8")
        # Started as root, mosquitto changes to its own user, who must be able to read these.
        self._directory.chmod(0o755)
        return config

    def _readable(self, file: Path) -> Path:
        """A copy in the broker's own directory: it may not enter those of the tests."""
        copy = self._directory / file.name
        shutil.copyfile(file, copy)
        copy.chmod(0o644)
        return copy

    def _password_file(self) -> Path:
        path = self._directory / "passwords"
        path.write_text("".join(f"{name}:{password}\n" for name, password in self._users.items()), encoding="utf-8")
        subprocess.run(["mosquitto_passwd", "-U", str(path)], check=True)
        path.chmod(0o644)
        return path


@contextlib.asynccontextmanager
async def running_mosquitto(
    users: Mapping[str, str] | None = None, acl: str = "", tls: Tls | None = None
) -> AsyncIterator[Mosquitto]:
    """A broker in a directory of its own, gone with its files afterwards."""
    with tempfile.TemporaryDirectory(prefix="mosquitto-") as directory:
        broker = Mosquitto(Path(directory), users, acl, tls)
        await broker.start()
        try:
            yield broker
        finally:
            broker.stop()


@pytest_asyncio.fixture
async def mosquitto() -> AsyncIterator[Mosquitto]:
    """An open broker for one test. Import this name into the conftest or the test module that wants it."""
    async with running_mosquitto() as broker:
        yield broker


async def until(condition: Callable[[], object], timeout_s: float = 60.0) -> None:
    """Waits until `condition()` is true; fails the test after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"not true within {timeout_s} s")
        await asyncio.sleep(0.01)
