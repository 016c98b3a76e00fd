"""What white lists cover of stays."""

from collections.abc import Sequence
from datetime import datetime

from cloud.kit.db import Conn
from cloud.parking.lists import repository
from cloud.parking.lists.records import WhiteTime


async def white_times(
    conn: Conn, project_id: int, plates: Sequence[str], since: datetime, until: datetime
) -> dict[str, list[WhiteTime]]:
    """When plates were on a white list from `since` to `until`, in order: lanes let them out without asking for money.

    Who prices stays takes these times for covered; otherwise every fire engine leaves a debt behind.
    """
    found: dict[str, list[WhiteTime]] = {}
    for plate, time in await repository.white(conn, project_id, plates, since, until):
        found.setdefault(plate, []).append(time)
    return found
