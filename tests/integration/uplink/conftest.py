"""A broker, a cloud and an outbox for every test of the uplink."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from gateway.outbox import Outbox
from tests.integration.broker import Mosquitto, mosquitto
from tests.integration.uplink.cloud import Cloud, running_cloud

__all__ = ["mosquitto"]


@pytest_asyncio.fixture
async def cloud(mosquitto: Mosquitto) -> AsyncIterator[Cloud]:
    async with running_cloud(mosquitto) as running:
        yield running


@pytest.fixture
def outbox(tmp_path: Path) -> Iterator[Outbox]:
    box = Outbox.open(tmp_path / "outbox.db", 64 * 1024 * 1024)
    yield box
    box.close()
