"""What each command asks of a meter: the capability that carries it out."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from gateway.contract.messages import Action, Command, CommandState
from gateway.drivers.base import CommandOutcome, ReadOutcome, ReadsMeter, SetsClock, Supply, SwitchesSupply

_SWITCHED: Final = {
    Action.OPEN_VALVE: (Supply.VALVE, True),
    Action.CLOSE_VALVE: (Supply.VALVE, False),
    Action.SWITCH_ON: (Supply.RELAY, True),
    Action.SWITCH_OFF: (Supply.RELAY, False),
}


async def carry_out(command: Command, meter: ReadsMeter, local_now: Callable[[], datetime]) -> CommandOutcome:
    """Gives `command` to what `meter` can do; FAILED with the reason when it cannot. Raises LineDown.

    Reading is not among it: the values of a reading are for the worker.
    """
    if (switched := _SWITCHED.get(command.action)) is not None:
        supply, on = switched
        if not isinstance(meter, SwitchesSupply) or supply not in meter.supplies:
            return _cannot(command, f"it has no {supply}")
        return await meter.switch(supply, on)
    if command.action is Action.SET_CLOCK:
        if not isinstance(meter, SetsClock):
            return _cannot(command, "it has no clock")
        return await meter.set_clock(local_now)
    return _cannot(command, "it is a meter")


def read_outcome(outcome: ReadOutcome) -> CommandOutcome:
    """What a reading on demand is reported as."""
    values = sum(len(readings) for _, readings in outcome.answers)
    if not values:
        return CommandOutcome(CommandState.FAILED, "the meter gave no value")
    return CommandOutcome(CommandState.DONE, f"{values} values")


def _cannot(command: Command, why: str) -> CommandOutcome:
    return CommandOutcome(CommandState.FAILED, f"{command.device} cannot {command.action}: {why}")


def actions_of(meter: ReadsMeter) -> tuple[Action, ...]:
    """What a meter can be told to do."""
    supplies = meter.supplies if isinstance(meter, SwitchesSupply) else frozenset()
    switched = [action for action, (supply, _) in _SWITCHED.items() if supply in supplies]
    clock = [Action.SET_CLOCK] if isinstance(meter, SetsClock) else []
    return (Action.READ_NOW, *switched, *clock)
