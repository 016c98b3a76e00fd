"""Persons filed for days that were charged already: taken from the queue and re-rated, unit by unit."""

from datetime import date
from typing import LiteralString

from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.late_usage import DRAFT, Outcome
from cloud.billing.corrections.rerating import rerate
from cloud.billing.runs.drafting import lock_charges
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.constraints import refusal
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.portions import one_by_one

_UNITS: LiteralString = "SELECT DISTINCT unit_id FROM late_filing WHERE project_id = %s ORDER BY unit_id"
# Rows that another worker has taken are his.
_TAKE: LiteralString = "SELECT id, from_day FROM late_filing WHERE unit_id = %s ORDER BY id FOR UPDATE SKIP LOCKED"
_KEEP: LiteralString = "UPDATE late_filing SET code = %s, detail = %s WHERE id = ANY (%s)"
_FORGET: LiteralString = "DELETE FROM late_filing WHERE id = ANY (%s)"


async def rerate_filed(db: Database, asker: Asker, project_id: int) -> Outcome:
    """Re-rates what was charged of units whose persons were filed late. It may be broken off and repeated anywhere."""
    async with db.transaction(asker) as conn:
        project = await estate.get_project(conn, project_id)
        units = [row["unit_id"] for row in await (await conn.execute(_UNITS, (project_id,))).fetchall()]

    async def rated(unit_id: int) -> Outcome:
        async with db.transaction(asker) as conn:
            return await _take(conn, project, unit_id)

    async def refused(unit_id: int, error: Exception) -> Outcome:
        async with db.transaction(asker) as conn:
            await conn.execute(_KEEP, (*refusal(error), [one for one, _ in await _locked(conn, unit_id)]))
        return Outcome(waiting=1)

    return sum(await one_by_one(units, rated, refused), Outcome())


async def _take(conn: Conn, project: Project, unit_id: int) -> Outcome:
    await lock_charges(conn, project.id)
    late = await _locked(conn, unit_id)
    if not late:
        return Outcome()
    ids = [one for one, _ in late]
    states = await adjustments_repository.states_of_unit(conn, unit_id, min(day for _, day in late))
    rerated = await rerate(conn, project, states, cause="persons")
    reasons = [(failure.code, failure.detail) for failure in rerated.failures.values()]
    reasons += [(DRAFT.code, DRAFT.detail) for one in states if not one.issued]
    if reasons:
        await conn.execute(_KEEP, (*reasons[0], ids))
        return Outcome(rerated.adjusted, 1)
    await conn.execute(_FORGET, (ids,))
    return Outcome(rerated.adjusted)


async def _locked(conn: Conn, unit_id: int) -> list[tuple[int, date]]:
    return [(row["id"], row["from_day"]) for row in await (await conn.execute(_TAKE, (unit_id,))).fetchall()]
