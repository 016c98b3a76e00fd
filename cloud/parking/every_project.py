"""Work that is done in every project: whatever fails in one of them fails alone, and the log says so."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

import structlog

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.jobs import JobContext

Step = Callable[[Conn, int, datetime], Awaitable[int]]
"""Works on one project and returns how many things it did."""

_log = structlog.get_logger(__name__)


async def in_every_project(context: JobContext, name: str, *steps: Step) -> dict[str, object]:
    """Each step of each project in a transaction of its own: what was done as `name`, and how many steps failed."""
    async with context.db.transaction(context.asker) as conn:
        projects = await estate.projects(conn)
    done = failed = 0
    for project in projects:
        for step in steps:
            try:
                async with context.db.transaction(context.asker) as conn:
                    done += await step(conn, project.id, datetime.now(UTC))
            except Exception:  # noqa: BLE001 - one project, and one of the steps, must not keep the others
                failed += 1
                _log.exception("parking.step_failed", project=project.id, step=f"{step.__module__}.{step.__qualname__}")
    return {name: done, "failed": failed} if failed else {name: done}
