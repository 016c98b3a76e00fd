"""The two brokers that can serve: how each wants its settings, and which command starts it."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from gateway.contract.limits import MAX_WIRE_BYTES
from simulators.broker.access import BrokerClient


class Engine(StrEnum):
    """Which broker."""

    MOSQUITTO = "mosquitto"
    AMQTT = "amqtt"
    """Pure Python: MQTT 3.1.1 only, no shared subscriptions."""


def find_mosquitto() -> Path | None:
    """The mosquitto binary, or None; Debian keeps it outside the PATH of ordinary users."""
    found = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")
    return Path(found) if found is not None and shutil.which("mosquitto_passwd") is not None else None


def best_engine() -> Engine:
    """mosquitto when it is installed, else the one that comes with the environment."""
    return Engine.MOSQUITTO if find_mosquitto() is not None else Engine.AMQTT


def write_mosquitto(folder: Path, host: str, port: int, clients: Sequence[BrokerClient]) -> list[str]:
    """Writes settings, hashed passwords and ACL; returns the command. Raises FileNotFoundError without mosquitto."""
    binary = find_mosquitto()
    if binary is None:
        raise FileNotFoundError("mosquitto and mosquitto_passwd are not installed")
    passwords, acl, settings = folder / "passwords", folder / "acl", folder / "mosquitto.conf"
    _write_private(passwords, "".join(f"{client.username}:{client.password}\n" for client in clients))
    subprocess.run(["mosquitto_passwd", "-U", str(passwords)], check=True, capture_output=True)
    _write_private(acl, "\n".join(_acl_lines(clients)) + "\n")
    lines = [
        f"listener {port} {host}",
        "allow_anonymous false",
        f"password_file {passwords}",
        f"acl_file {acl}",
        "persistence false",
        "set_tcp_nodelay true",
        f"message_size_limit {MAX_WIRE_BYTES}",
        "max_queued_messages 20000",
        "log_dest stderr",
        "log_type error",
        "log_type warning",
        "log_type notice",
    ]
    if os.geteuid() == 0:
        # As another user it could not read a folder that lies below one that is closed to everybody else.
        lines.append("user root")
    _write_private(settings, "\n".join(lines) + "\n")
    return [str(binary), "-c", str(settings)]


def write_amqtt(folder: Path, host: str, port: int, clients: Sequence[BrokerClient]) -> list[str]:
    """Writes settings with hashed passwords and ACL; returns the command."""
    settings = folder / "amqtt.json"
    # The passwords are long random strings, so one round of a hash hides them.
    rules = {
        client.username: {
            "password_sha256": hashlib.sha256(client.password.encode()).hexdigest(),
            "write": client.write,
            "read": client.read,
        }
        for client in clients
    }
    _write_private(settings, json.dumps({"bind": f"{host}:{port}", "clients": rules}))
    return [sys.executable, "-m", "simulators.broker.embedded", str(settings)]


def _acl_lines(clients: Sequence[BrokerClient]) -> list[str]:
    lines = []
    for client in clients:
        lines.append(f"user {client.username}")
        lines += [f"topic write {topic}" for topic in client.write]
        # mosquitto judges a shared subscription by the filter behind its group.
        lines += [f"topic read {topic}" for topic in client.read if not topic.startswith("$share/")]
    return lines


def _write_private(path: Path, text: str) -> None:
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
