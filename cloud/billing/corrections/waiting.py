"""What waits to be rated again: readings and persons that came after their days were charged, and why they wait."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime
from typing import Final, Literal, LiteralString

from cloud.billing.corrections.late_usage import RE_RATE_JOB
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.jobs import enqueue
from cloud.kit.paging import MAX_ID, Page, PageRequest, cut

WaitingKind = Literal["usage", "persons"]
WaitingState = Literal["new", "refused"]
KINDS: Final[tuple[WaitingKind, ...]] = ("usage", "persons")

# One row a meter or unit, however often something of it came late: it is rated again in one go.
_WAITING: LiteralString = """
    WITH late AS (
        SELECT l.project_id, 'usage' AS kind, l.meter_id AS subject_id, l.id,
               (l.from_at AT TIME ZONE p.time_zone)::date AS from_day, l.created_at, l.code, l.detail
        FROM late_usage l JOIN project p ON p.id = l.project_id
        WHERE %(project_id)s::bigint IS NULL OR l.project_id = %(project_id)s
        UNION ALL
        SELECT project_id, 'persons', unit_id, id, from_day, created_at, code, detail FROM late_filing
        WHERE %(project_id)s::bigint IS NULL OR project_id = %(project_id)s
    ), waits AS (
        SELECT project_id, kind, subject_id, min(from_day) AS from_day, min(created_at) AS since, count(*) AS times,
               (array_agg(code ORDER BY id DESC) FILTER (WHERE code IS NOT NULL))[1] AS code,
               (array_agg(detail ORDER BY id DESC) FILTER (WHERE code IS NOT NULL))[1] AS detail
        FROM late GROUP BY project_id, kind, subject_id
    )
    SELECT w.project_id, w.kind, w.subject_id, w.from_day, w.since, w.times, w.code, coalesce(w.detail, '') AS detail,
           m.id AS meter_id, m.code AS meter, u.id AS unit_id, coalesce(b.name || ' ' || u.code, '') AS unit
    FROM waits w
    LEFT JOIN meter m ON w.kind = 'usage' AND m.id = w.subject_id
    LEFT JOIN unit u ON u.id = CASE w.kind WHEN 'usage' THEN m.unit_id ELSE w.subject_id END
    LEFT JOIN building b ON b.id = u.building_id
    WHERE (%(kind)s::text IS NULL OR w.kind = %(kind)s)
      AND (%(state)s::text IS NULL OR (w.code IS NULL) = (%(state)s = 'new'))
      AND (%(search)s::text IS NULL
           OR strpos(lower(concat_ws(E'\n', m.code, b.name || ' ' || u.code)), lower(%(search)s)) > 0)
      AND (w.kind, w.subject_id) > (%(after_kind)s, %(after_id)s)
    ORDER BY w.kind, w.subject_id LIMIT %(limit)s
"""
_TRYING: LiteralString = """
    SELECT EXISTS (SELECT FROM job WHERE kind = %s AND project_id = %s AND state IN ('queued', 'running')
                   AND NOT payload ? 'account_id') AS trying
"""


@dataclass(frozen=True, slots=True)
class WaitingFilter:
    """What is wanted; None: any. `new` was not tried yet, `refused` could not be rated again.

    `search`: a part of the meter's code or of the unit.
    """

    project_id: int | None = None
    kind: WaitingKind | None = None
    state: WaitingState | None = None
    search: str | None = None


@dataclass(frozen=True, slots=True)
class Waiting:
    """A meter whose usage, or a unit whose persons, became known otherwise from `from_day` on, `times` since `since`.

    `code` and `detail`: why it could not be rated again at the last attempt; None where none was made yet.
    """

    project_id: int
    kind: WaitingKind
    subject_id: int
    from_day: date
    since: datetime
    times: int
    code: str | None
    detail: str
    meter_id: int | None
    meter: str | None
    unit_id: int | None
    unit: str


async def list_waiting(conn: Conn, request: PageRequest, wanted: WaitingFilter) -> Page[Waiting]:
    """Persons of units, then usage of meters, by id; the key of a page is both. Raises InvalidInput (cursor)."""
    query = {**asdict(wanted), **_after(request), "limit": request.limit + 1}
    rows = await (await conn.execute(_WAITING, query)).fetchall()
    return cut([Waiting(**row) for row in rows], request, lambda one: (one.kind, one.subject_id))


async def try_again(conn: Conn, project_id: int, *, by: int | None) -> int:
    """Has all that waits in a project rated again now; returns the job, or the one not done yet. Raises NotFound."""
    await estate.get_project(conn, project_id)
    return await enqueue(
        conn, RE_RATE_JOB, {"project_id": project_id}, project_id=project_id, dedupe_key="waiting", created_by=by
    )


async def is_trying(conn: Conn, project_id: int) -> bool:
    """Whether somebody asked for it and it is not done yet."""
    row = await (await conn.execute(_TRYING, (RE_RATE_JOB, project_id))).fetchone()
    return row is not None and bool(row["trying"])


def _after(request: PageRequest) -> Mapping[str, object]:
    kind, subject_id = request.after or ("", 0)
    if not isinstance(kind, str) or not isinstance(subject_id, int) or not 0 <= subject_id <= MAX_ID:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
    return {"after_kind": kind, "after_id": subject_id}
