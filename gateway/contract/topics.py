"""MQTT topics: `gm/v1/<project>/<gateway>/{up|down}/<kind>`. Every gateway owns its subtree and nothing else."""

import re
from enum import StrEnum
from typing import NamedTuple

from gateway.contract import limits
from gateway.contract.errors import ContractError

_ROOT = "gm/v1"
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


class Up(StrEnum):
    """What a gateway sends. The value is the last topic level and the kind of an outbox row."""

    READINGS = "readings"
    PASSAGES = "passages"
    RESULTS = "results"
    HEALTH = "health"
    GAPS = "gaps"
    CONFIGURATIONS = "configurations"


class Down(StrEnum):
    """What the cloud sends."""

    ACK = "ack"
    COMMAND = "command"
    CONFIG = "config"
    ACCESS = "access"
    TIME = "time"


class UpAddress(NamedTuple):
    """Who sent what."""

    project: str
    gateway: str
    kind: Up


def valid_code(text: str) -> bool:
    """Whether `text` may name a project, gateway, device or channel: 1–64 of letters, digits, `.`, `_`, `-`."""
    return len(text) <= limits.MAX_CODE_CHARS and _CODE.fullmatch(text) is not None


def _subtree(project: str, gateway: str) -> str:
    for name, code in (("project", project), ("gateway", gateway)):
        if not valid_code(code):
            raise ContractError("bad-topic", f"{name} code {code!r}: expected 1-64 of A-Z a-z 0-9 . _ -")
    return f"{_ROOT}/{project}/{gateway}"


def up(project: str, gateway: str, kind: Up) -> str:
    """Topic on which a gateway sends messages of `kind`."""
    return f"{_subtree(project, gateway)}/up/{kind}"


def down(project: str, gateway: str, kind: Down) -> str:
    """Topic on which the cloud sends messages of `kind` to one gateway."""
    return f"{_subtree(project, gateway)}/down/{kind}"


def counts(project: str, lot: str) -> str:
    """Topic on which the cloud keeps how full a lot is, for displays. No gateway's code begins with `_`."""
    for name, code in (("project", project), ("lot", lot)):
        if not valid_code(code):
            raise ContractError("bad-topic", f"{name} code {code!r}: expected 1-64 of A-Z a-z 0-9 . _ -")
    return f"{_ROOT}/{project}/_counts/{lot}"


def all_counts(project: str = "+") -> str:
    """Subscription of a display: how full each lot of a project is; of all projects, what an ingest worker tells."""
    return f"{_ROOT}/{project}/_counts/+"


def all_up() -> str:
    """Subscription of an ingest worker: everything that any gateway sends."""
    return f"{_ROOT}/+/+/up/+"


def all_down(project: str, gateway: str) -> str:
    """Subscription of a gateway: everything that is meant for it."""
    return f"{_subtree(project, gateway)}/down/+"


def parse_up(topic: str) -> UpAddress:
    """Takes an uplink topic apart. Raises ContractError (`bad-topic`) when it is none."""
    parts = topic.split("/")
    if len(parts) != 6 or f"{parts[0]}/{parts[1]}" != _ROOT or parts[4] != "up":
        raise ContractError("bad-topic", f"{topic!r}: expected {_ROOT}/<project>/<gateway>/up/<kind>")
    _subtree(parts[2], parts[3])
    try:
        return UpAddress(parts[2], parts[3], Up(parts[5]))
    except ValueError:
        raise ContractError("bad-topic", f"unknown kind {parts[5]!r}") from None
