"""Barriers opened by hand: who, why, and which vehicle went through."""

from datetime import datetime

from cloud.kit.db import Conn
from cloud.kit.paging import MAX_ID, Page, PageRequest, after_id, cut
from cloud.parking.stays import passage_repository as repository
from cloud.parking.stays.passage_repository import Opening, OpeningCount


async def list_openings(
    conn: Conn,
    page: PageRequest,
    project_id: int | None,
    since: datetime | None = None,
    until: datetime | None = None,
    lane_id: int | None = None,
) -> Page[Opening]:
    """Openings by hand of a time, the latest first."""
    before = after_id(page, MAX_ID)
    found = await repository.openings(conn, project_id, since, until, lane_id, before, page.limit + 1)
    return cut(found, page, lambda opening: (opening.id,))


async def opening_counts(conn: Conn, project_id: int, since: datetime, until: datetime) -> list[OpeningCount]:
    """Openings by hand of a time, which a shift is, by who opened and which lane."""
    return await repository.opening_counts(conn, project_id, since, until)
