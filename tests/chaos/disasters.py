"""What can happen to a running system, each for a moment chosen by chance, and then it is over."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final

from tests.chaos.stage import Stage

Disaster = Callable[[Stage, random.Random], Awaitable[None]]


async def kill_gateway(stage: Stage, chance: random.Random) -> None:
    """Power is lost at the edge."""
    stage.kill_gateway()
    await asyncio.sleep(chance.uniform(0.0, 1.5))
    stage.start_gateway()


async def kill_broker(stage: Stage, chance: random.Random) -> None:
    """The broker dies with everything that it holds."""
    stage.system.broker.kill()
    await asyncio.sleep(chance.uniform(0.0, 2.0))
    await asyncio.to_thread(stage.system.broker.start)


async def kill_ingest(stage: Stage, chance: random.Random) -> None:
    """Perhaps in the middle of a transaction, perhaps between COMMIT and acknowledgement."""
    stage.system.kill("ingest")
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    stage.system.start_ingest()


async def kill_database(stage: Stage, chance: random.Random) -> None:
    """All processes of the server at once."""
    stage.kill_database()
    await asyncio.sleep(chance.uniform(0.0, 1.0))
    await asyncio.to_thread(stage.server.ensure_running)


async def cut_network(stage: Stage, chance: random.Random) -> None:
    """A cable is pulled, and put back."""
    await stage.proxy.cut()
    await asyncio.sleep(chance.uniform(0.0, 2.0))
    stage.proxy.heal()


async def stall_network(stage: Stage, chance: random.Random) -> None:
    """Packets vanish without a sign; they come later, or the connection is given up."""
    stage.proxy.stall()
    await asyncio.sleep(chance.uniform(0.5, 4.0))
    if chance.random() < 0.5:
        await stage.proxy.cut()
    stage.proxy.heal()


async def slow_network(stage: Stage, chance: random.Random) -> None:
    """Acknowledgements come later than batches are sent again."""
    stage.proxy.delay_s = chance.uniform(0.3, 1.5)
    await asyncio.sleep(chance.uniform(2.0, 4.0))
    stage.proxy.heal()


async def fill_disk(stage: Stage, chance: random.Random) -> None:
    """Something else has eaten the gateway's disk."""
    with stage.full_disk():
        await asyncio.sleep(chance.uniform(1.0, 3.0))


async def step_clock(stage: Stage, chance: random.Random) -> None:
    """Somebody sets the gateway's clock, and later sets it right."""
    stage.step_clock(chance.choice((-90, -5, 5, 60)))
    await asyncio.sleep(chance.uniform(1.0, 3.0))
    stage.step_clock(0)


async def kill_two(stage: Stage, chance: random.Random) -> None:
    """Misfortunes come together."""
    first, second = chance.sample((kill_gateway, kill_broker, kill_ingest, cut_network), 2)
    await asyncio.gather(first(stage, chance), second(stage, chance))


ALL: Final[tuple[Disaster, ...]] = (
    kill_gateway,
    kill_broker,
    kill_ingest,
    kill_database,
    cut_network,
    stall_network,
    slow_network,
    fill_disk,
    step_clock,
    kill_two,
)
