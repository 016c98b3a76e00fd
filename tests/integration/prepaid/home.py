"""A home whose electricity is prepaid, behind a meter with a relay: read every midnight, for tests of its cases."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

from cloud.billing import service as billing
from cloud.devices import service as devices
from cloud.devices.records import Command
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start, in_ms, local_day
from cloud.kit.yaml_files import load_yaml
from cloud.metering.records import MAIN_CHANNEL
from cloud.payments import service as payments
from cloud.prepaid import service
from cloud.prepaid.disconnection import Rules
from cloud.prepaid.positions import Thresholds
from cloud.prepaid.quiet_times import Hours
from cloud.prepaid.records import AccountTerms, Policy, PositionRow, SupplyCase
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from gateway.contract.messages import CommandResult, CommandState, DeviceHealth, Health
from tests.integration.billing.site import TARIFFS, Flat, Site, make_site
from tests.integration.metering.counted import COUNT

DAYS = 40
"""So many days before the day of the cut the agreement begins."""
PER_DAY = 10_000
"""Wh a day: 4.883 CNY a day in the first tier of the tariff."""
POLICY = Policy(
    Thresholds(Decimal(20), 5),
    Rules(disconnects=True, arrears_days=2, notice=timedelta(days=3), hours=Hours(before_rest=True)),
)


def next_monday() -> date:
    """A working day to come: what the tests decide happens then, orders are given by the clock of the database."""
    today = datetime.now(UTC).date()
    return today + timedelta(days=8 - today.isoweekday())


@dataclass(frozen=True, slots=True)
class Home:
    """The site, the agreement of its first flat, and the device on its meter."""

    site: Site
    agreement_id: int
    gateway_id: int
    device_id: int
    day: date

    @property
    def flat(self) -> Flat:
        """The flat."""
        return self.site.flats[0]

    @property
    def account_id(self) -> int:
        """Who pays."""
        return self.flat.account_id

    @property
    def db(self) -> Database:
        """The database."""
        return self.site.db

    def at(self, days: int = 0, hour: int = 10, minute: int = 0) -> datetime:
        """A local time so many days from the day of the cut."""
        return datetime.combine(self.day + timedelta(days=days), time(hour, minute), self.site.project.zone)

    async def value(self, now: datetime) -> PositionRow:
        """What the hourly job does."""
        async with self.db.transaction(SYSTEM) as conn:
            await service.value_accounts(conn, self.site.project, [self.account_id], now)
            return await service.position(conn, self.account_id)

    async def move(self, now: datetime) -> SupplyCase:
        """What the job does with the newest case."""
        async with self.db.transaction(SYSTEM) as conn:
            return await service.advance(conn, (await self.case()).id, now)

    async def case(self) -> SupplyCase:
        """The newest case."""
        rows = await self.site.rows("SELECT id FROM supply_case ORDER BY id DESC LIMIT 1")
        async with self.db.transaction(SYSTEM) as conn:
            return await service.get_case(conn, rows[0]["id"])

    async def steps(self) -> list[tuple[str, str]]:
        """Steps of the newest case and their reasons."""
        case = await self.case()
        async with self.db.transaction(SYSTEM) as conn:
            return [(one.step, one.reason) for one in await service.steps_of(conn, case.id)]

    async def delivered(self, at: datetime) -> SupplyCase:
        """A paper is handed over."""
        async with self.db.transaction(SYSTEM) as conn:
            return await service.note_delivery(conn, (await self.case()).id, at, "into his hands", at)

    async def confirm(self, at: datetime) -> SupplyCase:
        """Somebody agrees."""
        async with self.db.transaction(SYSTEM) as conn:
            return await service.confirm_case(conn, (await self.case()).id, None, at)

    async def end(self, case_id: int, reason: str, now: datetime) -> SupplyCase:
        """Staff end the case."""
        async with self.db.transaction(SYSTEM) as conn:
            return await service.end_case(conn, case_id, reason, now)

    async def pay(self, amount: str) -> None:
        """Money for the balance, today."""
        async with self.db.transaction(SYSTEM) as conn:
            today = local_day(datetime.now(UTC), self.site.project.zone)
            await payments.record_payment(conn, self.account_id, Decimal(amount), "cash", today, purpose="balance")

    async def set_terms(self, now: datetime, **wanted: Any) -> None:
        """What holds for the account."""
        async with self.db.transaction(SYSTEM) as conn:
            await service.set_account_terms(conn, AccountTerms(self.account_id, 0, **wanted), now)

    async def set_policy(self, policy: Policy) -> None:
        """What the project wants."""
        async with self.db.transaction(SYSTEM) as conn:
            await service.set_policy(conn, self.site.project.id, policy, may_disconnect=True)

    async def orders(self) -> list[Command]:
        """Orders to the relay, oldest first."""
        rows = await self.site.rows("SELECT id FROM command ORDER BY issued_at, action")
        async with self.db.transaction(SYSTEM) as conn:
            return [await devices.get_command(conn, row["id"]) for row in rows]

    async def reports(self, command_id: UUID | None, state: str) -> None:
        """What the gateway tells of an order."""
        assert command_id is not None
        async with self.db.transaction(SYSTEM) as conn:
            result = CommandResult(str(command_id), CommandState(state), in_ms(datetime.now(UTC)), "")
            await devices.apply_results(conn, {(self.site.project.id, self.gateway_id): [result]})

    async def brought_to_order(self) -> SupplyCase:
        """The case from its opening to the order to switch off, by the rules."""
        await self.value(self.at(-12))
        await self.delivered(self.at(-10))
        await self.move(self.at(-7))
        await self.confirm(self.at())
        await self.delivered(self.at(minute=5))
        return await self.move(self.at(minute=40))


async def make_home(db: Database, policy: Policy = POLICY, code: str = "demo") -> Home:
    """A flat that has used 10 kWh every day and has not paid anything in advance; `code` of its project."""
    site, day = await make_site(db, 1, services=(), code=code), next_monday()
    since, zone = day - timedelta(days=DAYS), site.project.zone
    async with db.transaction(SYSTEM) as conn:
        content = load_yaml(TARIFFS / "beijing-electricity.yaml", TariffContent)
        tariff = await tariffs.publish(conn, site.project.id, "e", "e", "electricity", content, date(2026, 1, 1))
        meter_id = site.flats[0].meters["electricity"]
        agreement = await billing.create_agreement(
            conn, site.project.id, site.flats[0].account_id, "electricity", tariff.tariff_id, meter_id, None, since
        )
        gateway = await devices.create_gateway(conn, site.project.id, "gw-1", "Gateway")
        device = await devices.create_device(conn, site.project.id, gateway.id, "e-1", "electricity")
        await devices.bind(conn, device.id, meter_id, day_start(since, zone))
        health = DeviceHealth("e-1", 0, 1, 0, 0, 0, 0, ("read-now", "switch-off", "switch-on"))
        now_ms = in_ms(datetime.now(UTC))
        await devices.apply_health(conn, gateway.id, Health(now_ms, "0", 1, 0, 0, 0, 0, (health,)))
    home = Home(site, agreement.id, gateway.id, device.id, day)
    await read_every_day(home, since, DAYS + 1)
    await home.set_policy(policy)
    async with db.transaction(SYSTEM) as conn:
        await service.mark(conn, agreement.id, home.at(-13))
    return home


async def read_every_day(home: Home, since: date, days: int) -> None:
    """Boundary readings and usage of whole days."""
    meter_id, zone = home.flat.meters["electricity"], home.site.project.zone
    channel, project_id = MAIN_CHANNEL["electricity"].number, home.site.project.id
    starts = [day_start(since + timedelta(days=n), zone) for n in range(days + 1)]
    async with home.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, %s, %s, %s, %s)",
            [(meter_id, channel, at, 5_000_000 + n * PER_DAY, project_id) for n, at in enumerate(starts)],
        )
        await cursor.executemany(
            """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
               VALUES (%s, %s, %s, 86400, %s, %s)""",
            [(meter_id, channel, at, PER_DAY, project_id) for at in starts[:-1]],
        )
        await cursor.execute(COUNT)
