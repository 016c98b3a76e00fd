"""A parking lot as its promises are told: what its gateway reports, what its staff do over HTTP, what came of it."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from random import Random
from typing import Any

import httpx
import msgspec

from cloud.kit.db import Database
from gateway.contract.messages import Passage
from tests.integration.app import Auth, once
from tests.integration.parking.site import Site, rows


class ParkingLot:
    """One lot; times are those of the passages, and the cloud hears of each as it happens, unless held back."""

    def __init__(self, site: Site, db: Database, ingest: Database, client: httpx.AsyncClient, staff: Auth) -> None:
        self.site, self.db, self.ingest, self.client, self.staff = site, db, ingest, client, staff

    def told(
        self, lane: str, plate: str, at: datetime, outcome: str = "passed", known: Passage | None = None, **more: Any
    ) -> Passage:
        """One report of the gateway; `known` is an earlier one of the same passage."""
        passage = self.site.passage(lane, plate, at, outcome, known)
        direction = "exit" if "out" in lane or lane.startswith("exit") else "entry"
        return msgspec.structs.replace(passage, direction=direction, **more)

    async def hears(self, *passages: Passage, now: datetime | None = None) -> None:
        """What the gateway tells reaches the cloud in one batch, when the last of it has happened."""
        last = datetime.fromtimestamp(max(one.taken_at for one in passages) / 1000).astimezone()
        await self.site.report(self.ingest, passages, now or last)

    async def hears_in_disorder(self, passages: Sequence[Passage], now: datetime, seed: int = 1) -> None:
        """The same passages in any order, some of them twice."""
        chance = Random(seed)
        shuffled = [*passages, *chance.sample(passages, len(passages) // 2)]
        chance.shuffle(shuffled)
        for passage in shuffled:
            await self.site.report(self.ingest, [passage], now)

    async def drives(self, lane: str, plate: str, at: datetime, **more: Any) -> Passage:
        """A vehicle is recognised at a lane and goes through."""
        passage = self.told(lane, plate, at, "passed", **more)
        await self.hears(passage)
        return passage

    async def waits(self, lane: str, plate: str, at: datetime, **more: Any) -> Passage:
        """A vehicle is recognised at a lane and stands there."""
        passage = self.told(lane, plate, at, "arrived", **more)
        await self.hears(passage)
        return passage

    async def stays(self) -> list[dict[str, Any]]:
        """All stays, in the order in which they began."""
        return await rows(
            self.db,
            """SELECT id, plate, state, entered_at, left_at, fee, lot_id, fixed_fee, covered FROM parking_session
               ORDER BY coalesce(entered_at, left_at), id""",
        )

    async def the_stay(self) -> dict[str, Any]:
        """The only one."""
        (stay,) = await self.stays()
        return stay

    async def orders(self) -> list[str]:
        """The passages for which the cloud ordered a barrier to open."""
        found = await rows(self.db, "SELECT arguments ->> 'passage' AS passage FROM command ORDER BY issued_at")
        return [row["passage"] for row in found]

    async def get(self, path: str, **query: Any) -> Any:
        """What the office reads."""
        answer = await self.client.get(f"/api/v1/{path}", params=query, headers=self.staff)
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def post(self, path: str, status: int = 201, **body: Any) -> Any:
        """What the office decides."""
        answer = await self.client.post(f"/api/v1/{path}", json=body, headers={**self.staff, **once()})
        assert answer.status_code == status, answer.text
        return answer.json()

    async def has_policy(self, lot_id: int | None = None, **content: Any) -> None:
        """The office sets the policy of the lot."""
        path = f"/api/v1/parking-lots/{lot_id or self.site.lot_id}/policy"
        answer = await self.client.put(path, json=content, headers=self.staff)
        assert answer.status_code == 200, answer.text

    async def incidents(self) -> list[tuple[str, str, str | None]]:
        """(kind, passage, the other passage it is about) of all incidents."""
        found = await self.get("parking-incidents")
        return [(one["kind"], one["passage_id"], one["other_id"]) for one in found["items"]]


def seconds(count: int) -> timedelta:
    """That many seconds."""
    return timedelta(seconds=count)
