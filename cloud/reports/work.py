"""What is being done in the background: the jobs of one's projects, how far they are and what came of them."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, LiteralString

from cloud.kit.db import Conn
from cloud.kit.errors import NotFound
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut

JobState = Literal["queued", "running", "done", "failed", "cancelled"]

_JOB: LiteralString = """
    SELECT id, project_id, kind, state, progress, total, attempts, max_attempts, error, result, run_at, created_by,
           created_at, started_at, finished_at
    FROM job
"""
_JOBS: LiteralString = (
    _JOB
    + """
    WHERE id < %(before)s
      AND (%(project_id)s::bigint IS NULL OR project_id = %(project_id)s)
      AND (%(kind)s::text IS NULL OR kind = %(kind)s)
      AND (%(state)s::text IS NULL OR state = %(state)s)
    ORDER BY id DESC LIMIT %(limit)s
"""
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job. `progress` of `total` is done, in units of its own; `error` is that of the last run that failed."""

    id: int
    project_id: int
    kind: str
    state: JobState
    progress: int
    total: int | None
    attempts: int
    max_attempts: int
    error: str | None
    result: dict[str, Any] | None
    run_at: datetime
    created_by: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs are wanted; None: any."""

    project_id: int | None = None
    kind: str | None = None
    state: JobState | None = None


async def list_jobs(conn: Conn, request: PageRequest, wanted: JobFilter) -> Page[Job]:
    """Jobs of the asker's projects, newest first."""
    query = {
        "before": after_id(request, MAX_ID),
        "project_id": wanted.project_id,
        "kind": wanted.kind,
        "state": wanted.state,
        "limit": request.limit + 1,
    }
    rows = await (await conn.execute(_JOBS, query)).fetchall()
    return cut([Job(**row) for row in rows], request, lambda job: (job.id,))


async def get_job(conn: Conn, job_id: int) -> Job:
    """One job. Raises NotFound."""
    row = await (await conn.execute(_JOB + " WHERE id = %s", (job_id,))).fetchone()
    if row is None:
        raise NotFound("no-such-job", f"there is no job {job_id}", field="job_id")
    return Job(**row)
