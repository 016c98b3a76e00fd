"""Spaces and their owners from a table: every row has an answer, and a bad one stops no other."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from typing import Literal

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import GatemeterError
from cloud.kit.periods import local_day
from cloud.parking.places.service import get_lot
from cloud.parking.records import Lot
from cloud.parking.spaces import repository
from cloud.parking.spaces.records import Holder, NewHolder, NewSpace, Space
from cloud.parking.spaces.service import meet
from cloud.parking.spaces.table import Read, read_spaces

Outcome = Literal["created", "owner-added", "exists", "refused"]
OwnerNamed = Callable[[int, str], Awaitable[int]]
"""The person of a project by what was written of him; raises GatemeterError when that is nobody, or several."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one row of a table.

    `exists`: the lot has just this space already, and its owner; `owner-added`: it had the space, and no owner then.
    """

    line: int
    number: str
    outcome: Outcome
    code: str = ""
    detail: str = ""


async def import_table(
    conn: Conn, lot_id: int, content: bytes, now: datetime, owner_named: OwnerNamed, actor: str, *, dry_run: bool
) -> list[Answer]:
    """Makes the spaces of a CSV or XLSX file, and those who are named in it their owners.

    Raises NotFound, and InvalidInput when the file as a whole is no such table.
    """
    lot = await get_lot(conn, lot_id)
    today = local_day(now, (await estate.get_project(conn, lot.project_id)).zone)
    rows, owners = await _owners(lot.project_id, list(read_spaces(content)), owner_named)
    wanted = [row.space for row in rows if row.space is not None]
    before = await repository.by_number(conn, lot_id, [one.number for one in wanted], now)
    if not dry_run:
        made = await repository.insert(
            conn, lot.project_id, lot_id, [one for one in wanted if one.number not in before]
        )
        # Made by somebody else in this moment: looked at like those that were there before.
        late = [one.number for one in wanted if one.number not in before and one.number not in made]
        before |= await repository.by_number(conn, lot_id, late, now)
    holders = await _owners_of(conn, list(before.values()))
    answers = [_answer(lot, row, before, _new(row, owners, today), holders) for row in rows]
    if not dry_run:
        added = [
            (answer.number, owner)
            for answer, row in zip(answers, rows, strict=True)
            if answer.outcome in ("created", "owner-added") and (owner := _new(row, owners, today)) is not None
        ]
        there = await repository.by_number(conn, lot_id, [number for number, _ in added], now)
        for number, owner in added:
            await repository.insert_holder(conn, there[number], owner, actor)
    return answers


async def _owners(project_id: int, rows: Sequence[Read], owner_named: OwnerNamed) -> tuple[list[Read], dict[str, int]]:
    """The rows, those refused whose owner is nobody or several; people by what was written of them."""
    found: dict[str, int | GatemeterError] = {}
    for text in dict.fromkeys(row.owner for row in rows if row.space is not None and row.owner):
        try:
            found[text] = await owner_named(project_id, text)
        except GatemeterError as error:
            found[text] = error
    people = {text: one for text, one in found.items() if isinstance(one, int)}
    problems = {text: one for text, one in found.items() if isinstance(one, GatemeterError)}
    return [
        replace(row, space=None, refusal=problems[row.owner]) if row.owner in problems else row for row in rows
    ], people


async def _owners_of(conn: Conn, spaces: Sequence[Space]) -> dict[int, list[Holder]]:
    found: dict[int, list[Holder]] = {}
    for one in await repository.holders(conn, [space.id for space in spaces]):
        if one.role == "owner":
            found.setdefault(one.space_id, []).append(one)
    return found


def _new(row: Read, owners: Mapping[str, int], today: date) -> NewHolder | None:
    if row.space is None or not row.owner:
        return None
    return NewHolder("owner", owners[row.owner], None, row.since or today, None)


def _answer(
    lot: Lot, row: Read, before: Mapping[str, Space], owner: NewHolder | None, holders: Mapping[int, Sequence[Holder]]
) -> Answer:
    if row.space is None:
        assert row.refusal is not None
        return Answer(row.line, row.number, "refused", row.refusal.code, row.refusal.detail)
    there = before.get(row.number)
    if there is None:
        return Answer(row.line, row.number, "created")
    if NewSpace(there.number, there.place, there.vehicle_class, there.stated) != row.space:
        detail = f"lot {lot.code} has a space {row.number} that is said to be otherwise"
        return Answer(row.line, row.number, "refused", "space-exists", detail)
    if owner is None:
        return Answer(row.line, row.number, "exists")
    others = [one for one in holders.get(there.id, ()) if meet(one, owner)]
    if not others:
        return Answer(row.line, row.number, "owner-added")
    if any(one.person_id == owner.person_id for one in others):
        return Answer(row.line, row.number, "exists")
    detail = f"space {row.number} has another owner from {others[0].since} on"
    return Answer(row.line, row.number, "refused", "space-held", detail)
