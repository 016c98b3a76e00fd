"""Work of visitor passes: stays that are over are priced by a pass that a resident gave afterwards."""

from cloud.kit.jobs import Handler, JobContext
from cloud.parking.visitors.service import PRICE_COVER, price_by_pass


async def price_cover(context: JobContext) -> None:
    """Once or several times: the price is the same."""
    async with context.db.transaction(context.asker) as conn:
        await price_by_pass(conn, int(context.payload["pass_id"]))


HANDLERS: dict[str, Handler] = {PRICE_COVER: price_cover}
