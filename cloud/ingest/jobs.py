"""Work of ingest: what could not be taken is tried again when somebody asks for it."""

from cloud.devices.replays import REPLAY, Replay
from cloud.ingest import replay as replaying
from cloud.kit.jobs import Handler, JobContext


async def replay(context: JobContext) -> dict[str, object]:
    """Tries messages or readings again; killed in the middle and run once more it stores nothing twice."""
    asked = Replay.of(context.payload)
    waiting = sum((await replaying.count(context.db, asked)).values())
    total = waiting if asked.limit is None else min(waiting, asked.limit)

    async def progress(tried: int) -> None:
        await context.progress(min(tried, total), total)

    done = await replaying.run(context.db, asked, progress, context.asker)
    return {"stored": done.stored, "kept": done.kept}


HANDLERS: dict[str, Handler] = {REPLAY: replay}
