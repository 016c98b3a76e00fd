"""`gatemeter simulate barriers`: the barriers of a site file, with traffic."""

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from gateway.drivers.barrier.settings import BarrierLineSettings, LaneSettings
from gateway.errors import ConfigError
from gateway.settings import load_site
from gateway.tasks import end
from simulators.barrier.lane import Lane
from simulators.barrier.pictures import picture
from simulators.barrier.plates import Vehicle
from simulators.barrier.speech import GenericSpeech, Speech, VzenithSpeech
from simulators.barrier.traffic import Traffic

app = typer.Typer(no_args_is_help=True)


@app.command("barriers")
def barriers(
    site: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Site file with a `barriers` part.")],
    seed: Annotated[int, typer.Option(help="Same seed, same vehicles.")] = 1,
    rate: Annotated[float, typer.Option(min=0.01, max=60, help="Arriving vehicles per minute and lot.")] = 2.0,
    stay: Annotated[float, typer.Option(min=0.01, help="Mean stay in minutes.")] = 10.0,
    inside: Annotated[
        list[str] | None, typer.Option(help="PLATE:CLASS of a vehicle that is in the first lot already; repeatable.")
    ] = None,
    misread: Annotated[float, typer.Option(min=0, max=1, help="Share of plates misread at the exit.")] = 0.05,
) -> None:
    """Simulate every barrier of a site over MQTT, with vehicles that arrive and leave."""
    try:
        lines = load_site(site).barriers
    except ConfigError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(2) from None
    if not lines:
        typer.echo(f"{site}: barriers: expected at least one line", err=True)
        raise typer.Exit(2)
    asyncio.run(simulate(lines, seed, rate, stay * 60, [_vehicle(text) for text in inside or ()], misread))


def _vehicle(text: str) -> Vehicle:
    plate, _, vehicle_class = text.partition(":")
    return Vehicle(plate, vehicle_class or "small")


def _speech(line: BarrierLineSettings, lane: LaneSettings) -> Speech:
    prefix = line.prefix_of(lane)
    if lane.dialect == "generic-json":
        return GenericSpeech(prefix, lane.sn)
    old = lane.vzenith.opens_by == "gpio_out"
    return VzenithSpeech(prefix, lane.sn, passed_input=lane.vzenith.passed_input or 0, old=old)


async def simulate(
    lines: tuple[BarrierLineSettings, ...],
    seed: int,
    rate: float,
    stay_s: float,
    before: Sequence[Vehicle] = (),
    misread: float = 0.0,
) -> None:
    """Runs all lanes of `lines` until cancelled: each entry is paired with the exit of the same place in its list.

    `before` leave by the first of these exits.
    """
    async with AsyncExitStack() as stack:
        driving: list[asyncio.Task[None]] = []
        for line in lines:
            lanes: dict[str, list[Lane]] = {"entry": [], "exit": []}
            for settings in line.lanes:
                lane = Lane(
                    line.broker,
                    line.prefix_of(settings),
                    settings.sn,
                    seed=seed,
                    passing_s=1.5,
                    speech=_speech(line, settings),
                    camera=partial(picture, camera=settings.sn),
                )
                lanes[settings.direction].append(await stack.enter_async_context(lane))
            for entry, exit_ in zip(lanes["entry"], lanes["exit"], strict=False):
                traffic = Traffic(entry, exit_, seed, rate, stay_s, () if driving else before, misread)
                driving.append(asyncio.create_task(traffic.run()))
        try:
            await asyncio.gather(*driving)
        finally:
            await end(*driving)
