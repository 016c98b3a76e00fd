"""Who may say and hear what on the broker: the ACL of the wire, independent of the broker that enforces it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gateway.contract import topics
from gateway.contract.topics import Up

_ALL_DOWN: Final = "gm/v1/+/+/down/+"


@dataclass(frozen=True, slots=True)
class BrokerClient:
    """One login. `write` and `read` are topic filters; `+` and `#` as in MQTT."""

    username: str
    password: str
    write: tuple[str, ...] = ()
    read: tuple[str, ...] = ()


def gateway_client(project: str, gateway: str, password: str, barrier_prefixes: Sequence[str] = ()) -> BrokerClient:
    """A gateway: its own subtree and nothing else, and the barriers that share its broker."""
    barriers = tuple(f"{prefix}/#" for prefix in barrier_prefixes)
    write = tuple(topics.up(project, gateway, kind) for kind in Up)
    return BrokerClient(
        f"{project}.{gateway}", password, (*write, *barriers), (topics.all_down(project, gateway), *barriers)
    )


def ingest_client(password: str, username: str = "cloud.ingest") -> BrokerClient:
    """An ingest worker: hears every gateway, answers every gateway, tells displays how full lots are."""
    return BrokerClient(
        username,
        password,
        (_ALL_DOWN, topics.all_counts()),
        (topics.all_up(), f"$share/ingest/{topics.all_up()}"),
    )


def display_client(username: str, password: str, project: str) -> BrokerClient:
    """A sign that shows how full the lots of a project are, and says nothing."""
    return BrokerClient(username, password, (), (topics.all_counts(project),))


def barrier_client(username: str, password: str, prefix: str) -> BrokerClient:
    """Barriers and cameras: everything under their prefix."""
    return BrokerClient(username, password, (f"{prefix}/#",), (f"{prefix}/#",))


def covers(allowed: str, asked: str) -> bool:
    """Whether every topic that the filter `asked` matches is matched by the filter `allowed`.

    `asked` may be a plain topic. Both follow MQTT 3.1.1, section 4.7.
    """
    allowed_levels, asked_levels = allowed.split("/"), asked.split("/")
    for index, level in enumerate(allowed_levels):
        if level == "#":
            return True
        if index >= len(asked_levels):
            return False
        wanted = asked_levels[index]
        if wanted == "#" or (level != "+" and level != wanted):
            return False
    return len(allowed_levels) == len(asked_levels)
