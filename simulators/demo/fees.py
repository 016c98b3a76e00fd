"""Pays for the stays of the generated history when their vehicles left."""

import random
from typing import Final

from cloud.kit.db import Asker, Database
from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request
from cloud.parking import service as parking
from cloud.parking.records import SessionFilter
from simulators.demo.progress import Step

_UNPAID_SHARE: Final = 0.06
_METHODS: Final = ("wechat", "alipay", "cash")


async def pay_stays(db: Database, asker: Asker, project_id: int, seed: int, step: Step) -> None:
    """Pays closed stays that cost something, but for a few debts; may be repeated, and pays nothing twice."""
    wanted = SessionFilter(project_id=project_id, state="closed")
    request: PageRequest | None = PageRequest(MAX_LIMIT)
    while request is not None:
        async with db.transaction(asker) as conn:
            page = await parking.list_sessions(conn, request, wanted)
            for stay in page.items:
                due = (stay.fee or 0) - stay.paid
                chance = random.Random(f"{seed}/{stay.id}")
                method = chance.choice(_METHODS)
                if due > 0 and chance.random() >= _UNPAID_SHARE:
                    await parking.pay(conn, stay.id, due, method, "demo", at=stay.left_at)
                    step.advance()
        request = None if page.next_cursor is None else page_request(MAX_LIMIT, page.next_cursor)
