"""Who holds permits in tests: a flat, its resident and his account."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.security import Keys, Sealer
from cloud.parking.permits import cards, service
from cloud.parking.permits.records import Holding, NewPermit, NewProduct, Permit, PermitKind, Product
from cloud.parking.permits.terms import WhenFreed
from tests.integration.parking.site import NOON, Site

DAY = timedelta(days=1)
FIRST, SECOND, THIRD = "京A12345", "京B67890", "粤C11111"


@dataclass(frozen=True, slots=True)
class Home:
    """A resident with a flat and an account."""

    person_id: int
    unit_id: int
    account_id: int

    def holds(self, *plates: str) -> Holding:
        """What is his."""
        return Holding(plates, person_id=self.person_id, unit_id=self.unit_id, account_id=self.account_id)


async def make_home(db: Database, site: Site) -> Home:
    """A flat of the site's project."""
    async with db.transaction(SYSTEM) as conn:
        building = await estate.create_building(conn, site.project_id, "b1", "Building 1")
        unit = await estate.create_unit(conn, site.project_id, building.id, "101")
        sealer = Sealer(Keys.generate())
        person = await estate.create_person(conn, sealer, site.project_id, "Wang Fang", email="wang@example.com")
        account = await estate.create_account(conn, site.project_id, "A-1", unit.id, person.id, date(2025, 1, 1))
    return Home(person.id, unit.id, account.id)


async def make_permit(
    db: Database,
    site: Site,
    plates: tuple[str, ...] = (FIRST,),
    *,
    kind: PermitKind = "owner-space",
    since: datetime = NOON - DAY,
    until: datetime | None = NOON + 30 * DAY,
    spaces: int = 0,
    when_freed: WhenFreed = "never",
    grace_days: int = 0,
    lots: tuple[int, ...] = (),
    at: datetime = NOON,
) -> Permit:
    """A permit of the site's lot unless others are named."""
    holding = Holding(plates, note="test")
    new = NewPermit(kind, lots or (site.lot_id,), since, until, holding, spaces, when_freed, grace_days)
    async with db.transaction(SYSTEM) as conn:
        return await service.create_permit(conn, site.project_id, new, at=at)


async def make_product(db: Database, site: Site, price: str = "300.00", **terms: object) -> Product:
    """A card of the site's lot."""
    new = NewProduct("Resident's card", Decimal(price), (site.lot_id,), **terms)  # type: ignore[arg-type]
    async with db.transaction(SYSTEM) as conn:
        return await cards.create_product(conn, site.project_id, new)


def local(day: date) -> datetime:
    """The beginning of a day in Shanghai."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=8)
