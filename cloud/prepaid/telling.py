"""What the holder of a prepaid account is told: a low balance, a supply that will be cut, was cut, is on again."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal

from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn
from cloud.kit.paging import PageRequest
from cloud.kit.periods import local_day
from cloud.notices import service as notices
from cloud.notices.records import PREPAID_LOW, SUPPLY_BACK, SUPPLY_CUT, SUPPLY_WARNING, NoticeFilter, Saying
from cloud.prepaid import letters
from cloud.prepaid.disconnection import Rules
from cloud.prepaid.records import PositionRow, SupplyCase

Announcement = Literal["notice", "second-notice"]

_ABOUT: Final = "supply_case"
_LOOKED_AT: Final = 20
"""Announcements of one case that are looked at, newest first."""


async def tell_low(conn: Conn, project: Project, rows: Sequence[PositionRow], now: datetime) -> None:
    """Balances that have just become low: once a day at most, however they waver."""
    accounts = await estate.accounts_by_id(conn, [row.account_id for row in rows])
    day = local_day(now, project.zone)
    sayings = [
        Saying(
            accounts[row.account_id].person_id,
            PREPAID_LOW,
            f"{PREPAID_LOW}:{row.account_id}:{day}",
            letters.low(accounts[row.account_id].number, row),
            account_id=row.account_id,
            about=("account", row.account_id),
        )
        for row in rows
        if row.account_id in accounts
    ]
    for start in range(0, len(sayings), notices.MOST_AT_ONCE):
        await notices.say(conn, project.id, sayings[start : start + notices.MOST_AT_ONCE])


async def announce(
    conn: Conn,
    project: Project,
    case: SupplyCase,
    position: PositionRow,
    rules: Rules,
    which: Announcement,
    now: datetime,
) -> datetime | None:
    """Announces that a supply will be cut; when that went out, or None as long as it has not.

    Asked again it says nothing new. What could not be sent (no address) never counts: then staff hand over a paper.
    """
    number = f"{local_day(now, project.zone)}:{case.cuts}" if which == "second-notice" else "1"
    key = f"{SUPPLY_WARNING}:{case.id}:{which}:{number}"
    write = letters.warning(case.service, position, rules, second=which == "second-notice")
    await _say(conn, project, case, SUPPLY_WARNING, key, write)
    wanted = NoticeFilter(project_id=project.id, kind=SUPPLY_WARNING, about=_ABOUT, about_id=case.id)
    page = await notices.list_notices(conn, PageRequest(_LOOKED_AT), wanted)
    return next((one.ended_at for one in page.items if one.dedupe_key == key and one.state == "sent"), None)


async def tell_off(conn: Conn, project: Project, case: SupplyCase) -> None:
    """The supply is off."""
    await _say(conn, project, case, SUPPLY_CUT, f"{SUPPLY_CUT}:{case.id}:{case.cuts}", letters.off(case.service))


async def tell_back(conn: Conn, project: Project, case: SupplyCase) -> None:
    """The supply is on again."""
    await _say(conn, project, case, SUPPLY_BACK, f"{SUPPLY_BACK}:{case.id}", letters.back(case.service))


async def _say(conn: Conn, project: Project, case: SupplyCase, kind: str, key: str, write: letters.Write) -> None:
    account = await estate.get_account(conn, case.account_id)
    saying = Saying(account.person_id, kind, key, write, account_id=case.account_id, about=(_ABOUT, case.id))
    await notices.say(conn, project.id, [saying])
