"""Deciding findings of the validation: accepted, corrected or dismissed, with a reason, and taken back again.

What a decision does to a finding about one reading:

* accept: the reading is believed although a rule refuses it (edit `use`); of two values of one moment the first stays
* correct: usage goes by another value (edit `set`) or without the reading (edit `ignore`)
* dismiss: nothing; a refused reading stays refused

About a stretch of usage a decision says only what a person thinks of it; readings in it are edited one by one.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Final, Literal

from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.metering.checks.subjects_repository import load_thresholds
from cloud.metering.edits import service as edits
from cloud.metering.edits.service import Action, NewEdit
from cloud.metering.exceptions import repository as exceptions_repository
from cloud.metering.exceptions.repository import ExceptionFilter
from cloud.metering.records import ExceptionState, MeterException, Rule

Decision = Literal["accept", "correct", "dismiss"]

MOST_AT_ONCE: Final = 500
REFUSED: Final[frozenset[Rule]] = frozenset({"backward", "maximum", "negative"})
"""Rules whose readings usage is not derived from unless somebody says so."""
ABOUT_READINGS: Final[frozenset[Rule]] = REFUSED | {"duplicate"}
"""Rules that are about one reading."""

_STATES: Final[dict[Decision, ExceptionState]] = {
    "accept": "accepted",
    "correct": "corrected",
    "dismiss": "dismissed",
}


async def list_exceptions(conn: Conn, page: PageRequest, wanted: ExceptionFilter) -> Page[MeterException]:
    """Findings, newest first."""
    return await exceptions_repository.exceptions(conn, page, wanted)


async def get_exception(conn: Conn, exception_id: int) -> MeterException:
    """Raises NotFound."""
    found = await exceptions_repository.exception(conn, exception_id)
    if found is None:
        raise NotFound("no-exception", f"there is no finding {exception_id}", field="exception_id")
    return found


async def decide(
    conn: Conn,
    ids: Collection[int],
    decision: Decision,
    actor: str,
    reason: str,
    value: int | None = None,
) -> list[MeterException]:
    """Decides open findings, all or none. `value` (base unit): what the one reading that is corrected should have said.

    Raises NotFound, Conflict when one of them is decided already, InvalidInput.
    """
    if not 1 <= len(set(ids)) <= MOST_AT_ONCE:
        raise InvalidInput("bad-limit", f"expected 1 to {MOST_AT_ONCE} findings", field="ids")
    found = await _locked(conn, ids)
    if any(one.state != "open" for one in found):
        raise Conflict("already-decided", "a finding was decided meanwhile: look at it first")
    if value is not None and (decision != "correct" or len(found) != 1 or found[0].rule not in ABOUT_READINGS):
        raise InvalidInput("bad-value", "a value corrects one finding about a reading", field="value")
    for one in found:
        action = _action(one, decision, value)
        if action is not None:
            edit = NewEdit(one.meter_id, one.channel, one.from_at, action, reason, actor, value)
            await edits.add_edit(conn, edit)
    return await exceptions_repository.set_state(conn, [one.id for one in found], _STATES[decision], actor, reason)


def _action(found: MeterException, decision: Decision, value: int | None) -> Action | None:
    """The edit that a decision about a finding makes."""
    if found.rule not in ABOUT_READINGS or decision == "dismiss":
        return None
    if decision == "correct":
        return "ignore" if value is None else "set"
    return "use" if found.rule in REFUSED else None


async def reopen(conn: Conn, exception_id: int, actor: str, reason: str) -> MeterException:
    """Takes a decision back, and with it the edit that it made. Raises NotFound, Conflict when it is open."""
    found = (await _locked(conn, [exception_id]))[0]
    if found.state == "open":
        raise Conflict("still-open", "nothing was decided about this finding")
    if found.rule in ABOUT_READINGS:
        at = found.from_at
        if at in await edits.edits_in_force(conn, found.meter_id, found.channel, at, at):
            await edits.add_edit(conn, NewEdit(found.meter_id, found.channel, at, "original", reason, actor))
    return (await exceptions_repository.set_state(conn, [exception_id], "open", "", ""))[0]


async def open_exceptions(
    conn: Conn, project_id: int, meter_ids: Collection[int], start: datetime, end: datetime
) -> list[MeterException]:
    """What blocks bills over [start, end): open findings of these meters by rules that are not only informational."""
    found = await exceptions_repository.open_of(conn, project_id, sorted(set(meter_ids)), start, end)
    thresholds = await load_thresholds(conn, {one.meter_id for one in found})
    return [one for one in found if thresholds[one.meter_id].weight(one.rule) == "on"]


async def _locked(conn: Conn, ids: Collection[int]) -> Sequence[MeterException]:
    wanted = sorted(set(ids))
    found = await exceptions_repository.locked(conn, wanted)
    if len(found) != len(wanted):
        missing = set(wanted) - {one.id for one in found}
        raise NotFound("no-exception", f"there is no finding {min(missing)}", field="ids")
    return found
