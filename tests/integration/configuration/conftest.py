"""A broker and the cloud's end of it."""

from collections.abc import AsyncIterator

import pytest_asyncio

from tests.integration.broker import Mosquitto, mosquitto
from tests.integration.uplink.cloud import Cloud, running_cloud

__all__ = ["mosquitto"]


@pytest_asyncio.fixture
async def cloud(mosquitto: Mosquitto) -> AsyncIterator[Cloud]:
    async with running_cloud(mosquitto) as running:
        yield running
