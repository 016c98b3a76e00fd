"""Which features there are, lowest floor first, and the rooms that each of them has."""

from collections.abc import Iterator
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType

FEATURES = (
    "identity",
    "estate",
    "notices",
    "webhooks",
    "devices",
    "metering",
    "tariffs",
    "billing",
    "prepaid",
    "payments",
    "parking",
    "reports",
    "ingest",
    "web",
)


def rooms(name: str) -> Iterator[ModuleType]:
    """The modules `cloud.<feature>.<name>` of the features that have this room, imported."""
    for feature in FEATURES:
        module = f"cloud.{feature}.{name}"
        if find_spec(module) is not None:
            yield import_module(module)
