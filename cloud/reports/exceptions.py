"""What a person should look at: findings of metering, messages and readings without a place, failed work."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, LiteralString, get_args
from uuid import UUID

from cloud.devices import service as devices
from cloud.devices.records import DeadLetter, InboxFilter, ReadingGap, Unclaimed
from cloud.identity.caller import Caller
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import Page, PageRequest, cut, newest_first
from cloud.reports import repository, work
from cloud.reports.records import Exceptional
from cloud.reports.work import Job, JobFilter
from gateway.contract.orders import OPTIONAL

Kind = Literal["usage", "letters", "unclaimed", "gaps", "commands", "jobs"]

PERMISSIONS: Final[Mapping[Kind, str]] = {
    "usage": "readings.read",
    "letters": "devices.read",
    "unclaimed": "devices.read",
    "gaps": "devices.read",
    "commands": "devices.read",
    "jobs": "jobs.read",
}
"""What one must hold in a project to see its exceptions of a kind."""

KEY_LENGTHS: Final[Mapping[Kind, int]] = {"usage": 1, "letters": 1, "unclaimed": 5, "gaps": 1, "commands": 2, "jobs": 1}
"""How many parts the cursors of a kind have."""

_GAPS_ARE_NEWS = timedelta(days=7)
"""Nobody can mend a gap: on the overview it is news for so long."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_END_US = 253_402_300_799_000_000

_USAGE: LiteralString = """
    SELECT e.id, e.meter_id, e.from_at, e.detected_at, e.rule, m.code AS meter_code,
           coalesce(b.name || ' ' || u.code, m.place, '') AS place
    FROM meter_exception e
    JOIN meter m ON m.id = e.meter_id
    LEFT JOIN unit u ON u.id = m.unit_id
    LEFT JOIN building b ON b.id = u.building_id
    WHERE e.project_id = %(project_id)s AND e.state = 'open'
      AND e.id < %(before)s
    ORDER BY e.id DESC LIMIT %(limit)s
"""
_COUNT_USAGE: LiteralString = (
    "SELECT count(*) AS count FROM meter_exception WHERE project_id = %(project_id)s AND state = 'open'"
)
# A display that shows nothing is no work for anybody.
_COMMANDS: LiteralString = """
    SELECT c.id, c.action, c.issued_at, c.state, c.detail, d.code AS device_code
    FROM command c JOIN device d ON d.id = c.device_id
    WHERE c.project_id = %(project_id)s AND c.state IN ('failed', 'expired', 'uncertain')
      AND c.action <> ALL (%(optional)s)
      AND (%(at)s::timestamptz IS NULL OR (c.issued_at, c.id) < (%(at)s, %(id)s))
    ORDER BY c.issued_at DESC, c.id DESC LIMIT %(limit)s
"""


async def attention(conn: Conn, caller: Caller, project_id: int, shown: int) -> list[Exceptional] | None:
    """The newest `shown` exceptions of the project, those of usage as one; None when `caller` may see no kind."""
    found: list[Exceptional] = []
    open_kinds = kinds(caller, project_id)
    sees_bills = caller.may("bills.read", project_id)
    if not open_kinds and not sees_bills:
        return None
    if "usage" in open_kinds:
        found += await _newest_usage(conn, project_id)
    for kind in open_kinds:
        if kind == "gaps":
            found += (await _gaps(conn, PageRequest(shown), project_id, datetime.now(UTC) - _GAPS_ARE_NEWS)).items
        elif kind not in ("usage", "commands"):
            found += (await exceptions(conn, PageRequest(shown), kind, project_id)).items
    if sees_bills:
        found += await repository.bill_failures(conn, project_id, shown)
    return sorted(found, key=lambda one: one.at, reverse=True)[:shown]


def kinds(caller: Caller, project_id: int) -> list[Kind]:
    """The kinds that `caller` may see in the project."""
    return [kind for kind in get_args(Kind) if caller.may(PERMISSIONS[kind], project_id)]


async def exceptions(conn: Conn, page: PageRequest, kind: Kind, project_id: int) -> Page[Exceptional]:
    """Exceptions of a kind in a project, newest first where they have a time. Raises InvalidInput (cursor)."""
    lists: dict[Kind, Callable[[], Awaitable[Page[Exceptional]]]] = {
        "usage": lambda: _usage(conn, page, project_id),
        "letters": lambda: _letters(conn, page, project_id),
        "unclaimed": lambda: _unclaimed(conn, page, project_id),
        "gaps": lambda: _gaps(conn, page, project_id),
        "commands": lambda: _commands(conn, page, project_id),
        "jobs": lambda: _jobs(conn, page, project_id),
    }
    return await lists[kind]()


async def _usage(conn: Conn, page: PageRequest, project_id: int) -> Page[Exceptional]:
    return await newest_first(conn, _USAGE, {"project_id": project_id}, page, _finding)


async def _newest_usage(conn: Conn, project_id: int) -> list[Exceptional]:
    """One for all: a single meter can bring hundreds, and they must not hide the rest."""
    newest = (await _usage(conn, PageRequest(1), project_id)).items
    if not newest:
        return []
    row = (await (await conn.execute(_COUNT_USAGE, {"project_id": project_id})).fetchall())[0]
    return [replace(newest[0], count=row["count"], href="/exceptions?kind=usage")]


def _finding(row: dict[str, Any]) -> Exceptional:
    return Exceptional(
        "usage",
        row["detected_at"],
        f"{row['meter_code']} {row['place']}".strip(),
        code=row["rule"],
        href=f"/meter-exceptions/{row['id']}",
    )


async def _commands(conn: Conn, page: PageRequest, project_id: int) -> Page[Exceptional]:
    query: dict[str, Any] = {"project_id": project_id, "limit": page.limit + 1, "at": None, "id": None}
    query["optional"] = [action.value for action in OPTIONAL]
    if page.after is not None:
        try:
            query |= {"at": _instant(page.after[0]), "id": UUID(str(page.after[1]))}
        except ValueError as error:
            raise _bad() from error
    rows = await (await conn.execute(_COMMANDS, query)).fetchall()
    found = cut(rows, page, lambda row: (_us(row["issued_at"]), str(row["id"])))
    return Page(
        [
            Exceptional(
                "command",
                row["issued_at"],
                row["device_code"],
                code=row["state"],
                detail=row["detail"],
                what=row["action"],
            )
            for row in found.items
        ],
        found.next_cursor,
    )


async def _letters(conn: Conn, page: PageRequest, project_id: int) -> Page[Exceptional]:
    found = await devices.list_dead_letters(conn, page, InboxFilter(project_id))
    return Page([_letter(one) for one in found.items], found.next_cursor)


async def _unclaimed(conn: Conn, page: PageRequest, project_id: int) -> Page[Exceptional]:
    found = await devices.list_unclaimed(conn, page, InboxFilter(project_id))
    return Page([_waiting(one) for one in found.items], found.next_cursor)


async def _gaps(conn: Conn, page: PageRequest, project_id: int, since: datetime | None = None) -> Page[Exceptional]:
    found = await devices.list_gaps(conn, page, project_id, since=since)
    return Page([_gap(one) for one in found.items], found.next_cursor)


async def _jobs(conn: Conn, page: PageRequest, project_id: int) -> Page[Exceptional]:
    found = await work.list_jobs(conn, page, JobFilter(project_id=project_id, state="failed"))
    return Page([_job(one) for one in found.items], found.next_cursor)


def _letter(letter: DeadLetter) -> Exceptional:
    return Exceptional(
        "dead-letter", letter.last_at, letter.topic, code=letter.reason, detail=letter.detail, count=letter.times
    )


def _waiting(waiting: Unclaimed) -> Exceptional:
    subject = f"{waiting.gateway_code}/{waiting.device_code}/{waiting.channel_code}"
    return Exceptional("unclaimed", waiting.last_at, subject, code=waiting.reason, count=waiting.readings)


def _gap(gap: ReadingGap) -> Exceptional:
    subject = "/".join(part for part in (gap.gateway_code, gap.device_code, gap.channel_code) if part)
    return Exceptional(
        "gap", gap.received_at, subject, code=gap.reason, count=gap.lost, what=gap.content,
        span=(gap.from_at, gap.until_at), href="/exceptions?kind=gaps",
    )  # fmt: skip


def _job(job: Job) -> Exceptional:
    """An error of ours begins with its code; any other with the name of an exception."""
    code, _, detail = (job.error or "").partition(": ")
    return Exceptional(
        "job", job.finished_at or job.created_at, str(job.id), code=code, detail=detail or code, what=job.kind
    )


def _us(at: datetime) -> int:
    return (at - _EPOCH) // timedelta(microseconds=1)


def _instant(part: str | int) -> datetime:
    return _EPOCH + timedelta(microseconds=_number(part, _EPOCH_END_US))


def _number(part: str | int, greatest: int) -> int:
    if not isinstance(part, int) or not 0 <= part <= greatest:
        raise _bad()
    return part


def _bad() -> InvalidInput:
    return InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
