"""A task that misses a cancellation is asked again."""

import asyncio

import pytest

from cloud.kit import tasks as of_cloud
from gateway import tasks as of_gateway


@pytest.mark.parametrize("module", [of_gateway, of_cloud], ids=["gateway", "cloud"])
async def test_a_swallowed_cancellation_is_not_the_last(module: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ASK_AGAIN_S", 0.01)
    swallowed = 0

    async def deaf() -> None:
        nonlocal swallowed
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                swallowed += 1
                if swallowed == 3:
                    raise

    async def broken() -> None:
        raise ValueError("its own affair")

    working = [asyncio.create_task(deaf()), asyncio.create_task(broken())]
    await asyncio.sleep(0)
    async with asyncio.timeout(60):
        await module.end(*working)  # type: ignore[attr-defined]  # both modules have it
    assert swallowed == 3
    assert working[0].cancelled()
    assert isinstance(working[1].exception(), ValueError)
