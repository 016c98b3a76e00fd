"""Work on many things at once of which one may be spoilt: halved until that one is alone, and fails alone."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final, TypeVar

import structlog
from psycopg.errors import DeadlockDetected

from cloud.kit.constraints import passes, too_much_at_once

Item = TypeVar("Item")
Result = TypeVar("Result")

_log = structlog.get_logger(__name__)
_ATTEMPTS: Final = 3


async def by_halves(
    ids: Sequence[int],
    work: Callable[[Sequence[int]], Awaitable[Result]],
    alone: Callable[[int, Exception], Awaitable[Result]],
) -> list[Result]:
    """What `work` comes to for all of `ids` at once, or for parts of them where it raises, in their order.

    `work` leaves nothing behind when it raises: it is a transaction of its own. `alone` is what comes of the one that
    cannot be worked on, whatever is wrong with it. What has nothing to do with any of them (`passes`: the database is
    gone, or half upgraded) is raised as it is: the whole is to be repeated once that is mended. So is a deadlock,
    unless it is gone at the next try, and what is too much at once, unless parts of it go.
    """
    if not ids:
        return []
    try:
        return [await past_deadlocks(lambda: work(ids))]
    except Exception as error:
        if passes(error) and (len(ids) == 1 or not too_much_at_once(error)):
            raise
        if len(ids) == 1:
            _log.warning("portions.one_fails", one=ids[0], work=work.__qualname__, exc_info=error)
            return [await alone(ids[0], error)]
    middle = len(ids) // 2
    return [*await by_halves(ids[:middle], work, alone), *await by_halves(ids[middle:], work, alone)]


async def one_by_one(
    ids: Sequence[int],
    work: Callable[[int], Awaitable[Result]],
    alone: Callable[[int, Exception], Awaitable[Result]],
) -> list[Result]:
    """What `work` comes to for each of `ids`, each its own transaction; one that raises fails as in `by_halves`."""

    async def of_one(one: Sequence[int]) -> Result:
        return await work(one[0])

    of_one.__qualname__ = work.__qualname__
    return [result for one in ids for result in await by_halves([one], of_one, alone)]


async def past_deadlocks(work: Callable[[], Awaitable[Result]]) -> Result:
    """Does `work`, a transaction of its own, and begins it anew at once when the database ended it to end a deadlock.

    Whoever held it up goes on meanwhile. TimescaleDB compresses chunks when it likes, and locks them in an order of its
    own. Raises DeadlockDetected when that does not help.
    """
    for _ in range(_ATTEMPTS - 1):
        try:
            return await work()
        except DeadlockDetected as error:
            _log.warning("portions.deadlock", error=str(error).strip())
    return await work()


async def side_by_side(items: Iterable[Item], work: Callable[[Item], Awaitable[None]], at_once: int) -> None:
    """Does `work` for each of `items`, so many at once, begun in their order: we compute while the database writes.

    The first that raises ends the others where they are, and is raised.
    """
    left = iter(items)

    async def go_on() -> None:
        for item in left:
            await work(item)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(at_once):
                group.create_task(go_on())
    except BaseExceptionGroup as errors:
        raise errors.exceptions[0] from errors
