"""Ending tasks for certain. `cloud/kit/tasks.py` is its twin: the two sides share nothing but the contract."""

import asyncio
from typing import Any

_ASK_AGAIN_S = 2.0


async def end(*tasks: "asyncio.Future[Any]") -> None:
    """Cancels `tasks` and returns when all have ended; what they raised stays in them.

    One cancellation is not enough: `asyncio.wait_for` of Python 3.11 swallows it when what it waits for is done in the
    same instant (https://github.com/python/cpython/issues/86296), and the MQTT client waits in that way. A task
    that loops would then run on for ever.
    """
    running = {task for task in tasks if not task.done()}
    while running:
        for task in running:
            task.cancel()
        _, running = await asyncio.wait(running, timeout=_ASK_AGAIN_S)
    for task in tasks:
        if not task.cancelled():
            task.exception()  # looked at, so that nobody warns that it never was


def first_error(error: BaseException) -> BaseException:
    """What lies at the bottom of groups of errors: tasks that run together raise theirs wrapped."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
