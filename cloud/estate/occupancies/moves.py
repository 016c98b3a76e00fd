"""Moving in and out as people look at it: the list of moves, and accounts that do not fit to who lives there."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from typing import Literal, LiteralString

from cloud.estate.records import Account, Occupancy, OccupancyRole, Validity
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import Page, PageRequest, cut

Show = Literal["in", "out", "living", "account-open", "account-ended"]
SHOWN: tuple[Show, ...] = ("in", "out", "living", "account-open", "account-ended")

# A move out counts on its last day, as people say it. Accounts: of the same person for the same unit.
_MOVES: LiteralString = """
    WITH move AS (
        SELECT o.id, o.project_id, 'in' AS kind, lower(o.valid) AS day, o.unit_id, o.person_id, o.role, o.valid
        FROM occupancy o WHERE %(project_id)s::bigint IS NULL OR o.project_id = %(project_id)s
        UNION ALL
        SELECT o.id, o.project_id, 'out', upper(o.valid) - 1, o.unit_id, o.person_id, o.role, o.valid
        FROM occupancy o
        WHERE (%(project_id)s::bigint IS NULL OR o.project_id = %(project_id)s) AND NOT upper_inf(o.valid)
    )
    SELECT m.id, m.project_id, m.kind, m.day, m.unit_id, b.name || ' ' || u.code AS unit_label, m.person_id,
           p.name AS person_name, m.role, upper_inf(m.valid) AS stays, left_open.id AS open_account_id,
           left_open.number AS open_account
    FROM move m
    JOIN unit u ON u.id = m.unit_id
    JOIN building b ON b.id = u.building_id
    JOIN person p ON p.id = m.person_id
    LEFT JOIN LATERAL (
        SELECT a.id, a.number FROM account a
        WHERE m.kind = 'out' AND a.unit_id = m.unit_id AND a.person_id = m.person_id
          AND (upper_inf(a.valid) OR upper(a.valid) > upper(m.valid))
          AND NOT EXISTS (SELECT FROM occupancy again WHERE again.unit_id = m.unit_id
                          AND again.person_id = m.person_id AND lower(again.valid) >= upper(m.valid))
        ORDER BY a.id LIMIT 1) left_open ON true
    WHERE (%(building_id)s::bigint IS NULL OR u.building_id = %(building_id)s)
      AND (%(first)s::date IS NULL OR m.day >= %(first)s)
      AND (%(end)s::date IS NULL OR m.day < %(end)s)
      AND CASE %(show)s::text
          WHEN 'in' THEN m.kind = 'in'
          WHEN 'out' THEN m.kind = 'out'
          WHEN 'living' THEN m.kind = 'in' AND upper_inf(m.valid)
          WHEN 'account-open' THEN left_open.id IS NOT NULL
          WHEN 'account-ended' THEN m.kind = 'in' AND upper_inf(m.valid)
               AND EXISTS (SELECT FROM account a WHERE a.unit_id = m.unit_id AND a.person_id = m.person_id)
               AND NOT EXISTS (SELECT FROM account a WHERE a.unit_id = m.unit_id AND a.person_id = m.person_id
                               AND upper_inf(a.valid))
          ELSE true END
      AND (%(day)s::date IS NULL OR (m.day, m.id, m.kind) < (%(day)s, %(id)s, %(kind)s))
    ORDER BY m.day DESC, m.id DESC, m.kind DESC LIMIT %(limit)s
"""
_HOMES: LiteralString = """
    SELECT o.id AS occupancy_id, o.person_id, o.unit_id, b.name || ' ' || u.code AS unit_label, o.role,
           lower(o.valid) AS start, upper(o.valid) AS end
    FROM occupancy o JOIN unit u ON u.id = o.unit_id JOIN building b ON b.id = u.building_id
    WHERE o.person_id = ANY (%(person_ids)s) AND (%(on)s::date IS NULL OR o.valid @> %(on)s::date)
    ORDER BY lower(o.valid) DESC, o.id DESC
"""


@dataclass(frozen=True, slots=True)
class MoveFilter:
    """Which moves are wanted; None: any. Days from `first` up to, not including, `end`.

    `show`: only moves in or out; who lives there without an end (`living`); who moved out and whose account goes on
    (`account-open`); who lives there though his account has an end (`account-ended`).
    """

    project_id: int | None = None
    building_id: int | None = None
    first: date | None = None
    end: date | None = None
    show: Show | None = None


@dataclass(frozen=True, slots=True)
class Move:
    """Somebody moved in, or out: `day` is his first or his last one. `id` is that of his occupancy.

    `stays`: no end is entered. `open_account`: number of his account for the unit that goes on after he has left.
    """

    id: int
    project_id: int
    kind: Literal["in", "out"]
    day: date
    unit_id: int
    unit_label: str
    person_id: int
    person_name: str
    role: OccupancyRole
    stays: bool
    open_account_id: int | None
    open_account: str | None

    @property
    def until(self) -> date:
        """The first day after a move out."""
        return self.day + timedelta(days=1)


async def list_moves(conn: Conn, request: PageRequest, wanted: MoveFilter) -> Page[Move]:
    """Moves, latest first; the key of a page is day, occupancy and kind. Raises InvalidInput (cursor)."""
    query = {**asdict(wanted), **_after(request), "limit": request.limit + 1}
    rows = await (await conn.execute(_MOVES, query)).fetchall()
    return cut([Move(**row) for row in rows], request, lambda one: (one.day.isoformat(), one.id, one.kind))


def _after(request: PageRequest) -> dict[str, object]:
    if request.after is None:
        return {"day": None, "id": None, "kind": None}
    try:
        day, occupancy_id, kind = request.after
        return {"day": date.fromisoformat(str(day)), "id": int(occupancy_id), "kind": str(kind)}
    except ValueError as error:
        raise InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor") from error


@dataclass(frozen=True, slots=True)
class Home:
    """Where a person lives or lived."""

    occupancy_id: int
    person_id: int
    unit_id: int
    unit_label: str
    role: OccupancyRole
    valid: Validity


async def homes_of(conn: Conn, person_ids: Sequence[int], on: date | None = None) -> Mapping[int, Sequence[Home]]:
    """Where people live on a day, or ever did (None), the latest first; who lives nowhere is absent."""
    rows = await (await conn.execute(_HOMES, {"person_ids": list(person_ids), "on": on})).fetchall()
    found: dict[int, list[Home]] = {}
    for row in rows:
        home = Home(valid=Validity(row.pop("start"), row.pop("end")), **row)
        found.setdefault(home.person_id, []).append(home)
    return found


@dataclass(frozen=True, slots=True)
class Mismatch:
    """An account and its person's stay do not end together. `until`: first day after the stay; None: he still lives
    there, and the account has an end before."""

    account: Account
    until: date | None


def mismatches(accounts: Sequence[Account], occupancies: Sequence[Occupancy]) -> list[Mismatch]:
    """Accounts of a unit that go on after their person has left it, or ended while he still lives there.

    Whoever pays without having lived there (an owner, an employer) fits always.
    """
    stays: dict[int, list[date | None]] = {}
    for one in occupancies:
        stays.setdefault(one.person_id, []).append(one.valid.end)
    found = []
    for account in accounts:
        if account.person_id not in stays:
            continue
        until = _last(stays[account.person_id])
        if _after_end(account.valid.end, until):
            found.append(Mismatch(account, until))
        elif until is None and account.valid.end is not None and not _goes_on(account, accounts):
            found.append(Mismatch(account, None))
    return found


def left_behind(found: Sequence[Mismatch]) -> Mapping[int, date]:
    """The first day after the stay of their person, by account that goes on."""
    return {one.account.id: one.until for one in found if one.until is not None}


def _last(ends: Sequence[date | None]) -> date | None:
    """The latest end; None: one has none."""
    known = [end for end in ends if end is not None]
    return max(known) if len(known) == len(ends) else None


def _after_end(one: date | None, other: date | None) -> bool:
    return other is not None and (one is None or one > other)


def _goes_on(account: Account, accounts: Sequence[Account]) -> bool:
    """Whether another account of the same person takes over."""
    return any(one.person_id == account.person_id and _after_end(one.valid.end, account.valid.end) for one in accounts)
