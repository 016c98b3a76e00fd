"""Re-ratings of accounts that were asked for and could not be done: tried again each night, until they can."""

from datetime import date
from typing import Any, LiteralString

from psycopg.types.json import Jsonb

from cloud.billing.corrections.late_usage import RE_RATE_JOB, Outcome, rerate_account
from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Database
from cloud.kit.portions import one_by_one

# What was asked for again since, of the same days or more, is seen to by the later job.
_FAILED: LiteralString = """
    SELECT j.id FROM job j
    WHERE j.kind = %(kind)s AND j.project_id = %(project_id)s AND j.state = 'failed' AND j.payload ? 'account_id'
      AND NOT EXISTS (SELECT FROM job later
                      WHERE later.kind = j.kind AND later.project_id = j.project_id AND later.id > j.id
                        AND later.state <> 'cancelled'
                        AND later.payload -> 'account_id' = j.payload -> 'account_id'
                        AND later.payload -> 'cause' = j.payload -> 'cause'
                        AND (later.payload ->> 'since')::date <= (j.payload ->> 'since')::date)
    ORDER BY j.id
"""
_PAYLOAD: LiteralString = "SELECT payload FROM job WHERE id = %s AND state = 'failed'"
_DONE: LiteralString = """
    UPDATE job SET state = 'done', result = %(result)s, error = NULL, finished_at = now()
    WHERE id = %(id)s AND state = 'failed'
"""
# What failed last night is kept like what failed for the first time.
_STILL: LiteralString = """
    UPDATE job SET error = %(error)s, finished_at = now() WHERE id = %(id)s AND state = 'failed'
"""


async def rerate_asked_before(db: Database, asker: Asker, project_id: int) -> Outcome:
    """Does the re-ratings of accounts of a project whose jobs have failed: findings may have been closed since.

    A job that is done now says so. It may be broken off and repeated at any point.
    """

    async def rated(job_id: int) -> Outcome:
        async with db.transaction(asker) as conn:
            row = await (await conn.execute(_PAYLOAD, (job_id,))).fetchone()
            if row is None:
                return Outcome()
            asked: dict[str, Any] = row["payload"]
            since = date.fromisoformat(asked["since"])
            done = await rerate_account(
                conn, int(asked["account_id"]), since, cause=asked["cause"], open_findings=asked["open_findings"]
            )
            await conn.execute(_DONE, {"id": job_id, "result": Jsonb({"adjusted": done.adjusted})})
            return Outcome(done.adjusted)

    async def still_fails(job_id: int, error: Exception) -> Outcome:
        async with db.transaction(asker) as conn:
            await conn.execute(_STILL, {"id": job_id, "error": ": ".join(refusal(error))})
        return Outcome(waiting=1)

    async with db.transaction(asker) as conn:
        query = {"kind": RE_RATE_JOB, "project_id": project_id}
        jobs = [row["id"] for row in await (await conn.execute(_FAILED, query)).fetchall()]
    return sum(await one_by_one(jobs, rated, still_fails), Outcome())
