"""What people see of providers' statements, and what they say about differences."""

from cloud.billing import service as billing
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.payments.channels.base import ChannelName
from cloud.payments.reconciliation import repository
from cloud.payments.reconciliation.records import Difference, DifferenceState, Statement, StatementState


async def list_statements(
    conn: Conn, page: PageRequest, *, state: StatementState | None = None, channel: ChannelName | None = None
) -> Page[Statement]:
    """Days that were compared or are to be, newest first; of the whole installation."""
    return await repository.statements(conn, page, state, channel)


async def list_differences(
    conn: Conn,
    page: PageRequest,
    *,
    project_id: int | None = None,
    state: DifferenceState | None = None,
    channel: ChannelName | None = None,
) -> Page[Difference]:
    """Differences, newest first, with those of which nobody knows whose they are."""
    return await repository.differences(conn, page, project_id, state, channel)


async def get_difference(conn: Conn, difference_id: int) -> Difference:
    """One difference. Raises NotFound."""
    found = await repository.difference(conn, difference_id)
    if found is None:
        raise NotFound("no-such-difference", f"there is no difference {difference_id}", field="difference_id")
    return found


async def settle_difference(conn: Conn, difference_id: int, note: str, *, by: int | None) -> Difference:
    """Somebody has looked at a difference and says what was done.

    Raises NotFound; InvalidInput without a note; Conflict when it is not open.
    """
    note = billing.stated(note)
    found = await get_difference(conn, difference_id)
    if not await repository.settle(conn, difference_id, note, by):
        raise Conflict("difference-over", f"the difference is {found.state}")
    return await get_difference(conn, difference_id)
