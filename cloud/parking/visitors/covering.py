"""What visitor passes cover of stays."""

from collections.abc import Sequence
from datetime import datetime

from cloud.kit.db import Conn
from cloud.parking.visitors import repository
from cloud.parking.visitors.records import PassTime


async def covered(
    conn: Conn, project_id: int, plates: Sequence[str], since: datetime, until: datetime
) -> dict[str, list[PassTime]]:
    """By plate the times in which its stays cost nothing by free passes, in order; plates without any are missing."""
    return await repository.free_times(conn, project_id, [plate for plate in plates if plate], since, until)
