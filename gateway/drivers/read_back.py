"""Orders to a meter: sent once, and done only when the meter shows it."""

import asyncio
from collections.abc import Awaitable, Callable

from gateway.contract.messages import CommandState
from gateway.drivers.base import CommandOutcome
from gateway.errors import DeviceError, ExceptionReply, LineDown, MalformedReply, NoAnswer


async def order_and_look(
    send: Callable[[], Awaitable[object]],
    look: Callable[[], Awaitable[str]],
    within_s: float,
    every_s: float,
) -> CommandOutcome:
    """Sends, then looks every `every_s` until the meter shows what was ordered, for at most `within_s`.

    `look` gives an empty text when the order is seen, else what is seen instead. An order without an answer may have
    arrived: only what the meter shows at last decides. Raises LineDown when nothing was sent.
    """
    try:
        await send()
    except ExceptionReply as refused:
        return CommandOutcome(CommandState.FAILED, str(refused))
    except (NoAnswer, MalformedReply) as lost:
        answer = f"; no proper answer to the order: {lost}"
    else:
        answer = ""
    time = asyncio.get_running_loop().time
    until = time() + within_s
    while True:
        try:
            seen = await look()
        except (DeviceError, LineDown) as error:
            outcome = CommandOutcome(CommandState.UNCERTAIN, f"not read back: {error}{answer}")
        else:
            if not seen:
                return CommandOutcome(CommandState.DONE)
            outcome = CommandOutcome(CommandState.FAILED, f"the meter shows {seen}{answer}")
        if time() + every_s > until:
            return outcome
        await asyncio.sleep(every_s)
