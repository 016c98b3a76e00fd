"""The gateway of a lot: what the cloud told it of vehicles, and what its lanes do by that alone."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from cloud.devices import access
from cloud.kit.db import SYSTEM
from cloud.kit.periods import in_ms
from cloud.parking.reservations import service as reservations
from gateway.access.book import AccessBook
from gateway.access.decision import AccessPolicy, AccessRequest, decide
from gateway.contract.access import AccessUpdate, as_sent
from tests.acceptance.parking.lot import ParkingLot
from tests.integration.parking.site import GATEWAY
from tests.integration.parking.told import tell


@dataclass
class Gate:
    """Nothing reaches it but the steps that the cloud makes for it."""

    lot: ParkingLot
    book: AccessBook = field(default_factory=AccessBook)

    async def learns(self, at: datetime) -> None:
        """What the jobs of a minute tell, as it stands at `at`, and what was told at once since the last time."""
        async with self.lot.db.transaction(SYSTEM) as conn:
            await reservations.settle(conn, self.lot.site.project_id, at)
        await tell(self.lot.db, self.lot.site.project_id, at)
        async with self.lot.db.transaction(SYSTEM) as conn:
            for due in await access.take_due(conn, 10):
                entries = tuple(as_sent(entry) for entry in await access.entries_of(conn, due))
                step = AccessUpdate(1, "p", GATEWAY, due.base, due.number, 1, 1, in_ms(at), entries, "test", "k1")
                assert await self.book.take(step), "every step is one forward"
                await access.note_held(conn, due.gateway_id, due.number)

    def decides(
        self, plate: str, at: datetime, vehicle_class: str = "small", lane: str = "entry", *, silent: bool = False
    ) -> str:
        """The rule by which a lane opens or stays closed for a vehicle now; `silent`: the cloud does not answer."""
        known = replace(self.book.state(plate, vehicle_class, "main", in_ms(at)), cloud_silent=silent)
        wanted = AccessRequest(plate, vehicle_class, "exit" if lane == "exit" else "entry", in_ms(at), lane)
        return decide(wanted, known, AccessPolicy()).rule
