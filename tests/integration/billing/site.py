"""A project with flats whose meters were read at the start of every month, for tests of billing and payments."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, LiteralString

from cloud.billing import service as billing
from cloud.billing.records import BillRow, BillRun, RunFailure
from cloud.billing.service import BillFilter, NewAgreement, RunOptions
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period, day_start, next_month
from cloud.kit.security import Keys, Sealer
from cloud.kit.yaml_files import load_yaml
from cloud.metering import service as metering
from cloud.metering.records import MAIN_CHANNEL, ChangedSpan, Medium, NewMeter
from cloud.metering.rollups import reading as rollups
from cloud.metering.thresholds.overrides import set_of_class
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.metering.counted import COUNT

TARIFFS = Path(__file__).parents[3] / "firmware-config/tariffs"
SINCE = date(2026, 1, 1)
MODULI: dict[Medium, int] = {"electricity": 10**9, "water": 10**11}
CHIEF = 5
"""Who approves what others filed."""
JANUARY_USAGE: dict[Medium, int] = {"electricity": 100_000, "water": 12_000_000}
FILES = {"electricity": "beijing-electricity", "water": "beijing-water", "property": "property-fee"}


@dataclass(frozen=True, slots=True)
class Flat:
    """One flat, who pays for it, and its meters by medium."""

    unit_id: int
    account_id: int
    person_id: int
    meters: dict[Medium, int]


@dataclass(frozen=True, slots=True)
class Site:
    """A project with tariffs from 2026 on; every flat is charged for electricity, water and the property fee."""

    db: Database
    project: Project
    tariffs: dict[str, int]
    flats: list[Flat]

    async def read(self, flat: Flat, medium: Medium, usage: Sequence[int], first: date = SINCE) -> None:
        """Boundary readings and usage of whole months from `first` on; the register starts at 5,000,000 Wh or mL."""
        meter_id, zone = flat.meters[medium], self.project.zone
        channel = MAIN_CHANNEL[medium].number
        value, day = 5_000_000, first
        readings, rows = [(day_start(day, zone), value)], []
        for quantity in usage:
            start, day = day_start(day, zone), next_month(day)
            end = day_start(day, zone)
            value += quantity
            readings.append((end, value % MODULI[medium]))
            rows.append((start, int((end - start).total_seconds()), quantity))
        async with self.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
            await cursor.executemany(
                """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
                   VALUES (%s, %s, %s, %s, %s)""",
                [(meter_id, channel, at, register, self.project.id) for at, register in readings],
            )
            await cursor.executemany(
                """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
                   VALUES (%s, %s, %s, %s, %s, %s)""",
                [(meter_id, channel, start, length, quantity, self.project.id) for start, length, quantity in rows],
            )
            await cursor.execute(COUNT)
            # As settling notes it: continuous aggregates have not seen them.
            end = day_start(day, zone)
            await rollups.refresh(conn, [ChangedSpan(self.project.id, meter_id, channel, readings[0][0], end)])

    async def may_leap(self) -> "Site":
        """Usage leaps from month to month, to fill tiers, and nobody is said to live in the flats.

        What V9 and V12 say of that is shown and holds up no bill.
        """
        rules = {"high-low": "info", "inactive": "info"}
        async with self.db.transaction(SYSTEM) as conn:
            for medium in MODULI:
                await set_of_class(conn, self.project.id, f"{medium}-residential", {"rules": rules})
        return self

    async def run(self, month: date, now: datetime | None = None) -> BillRun:
        """Starts a run over the month and does it, as the worker would."""
        async with self.db.transaction(SYSTEM) as conn:
            options = RunOptions(issue_at_once=True)
            await billing.start_run(conn, self.project.id, Period(month, next_month(month)), options=options)
            run = (await billing.list_runs(conn, PageRequest(1), self.project.id)).items[0]
        return await billing.execute_run(self.db, SYSTEM, run.id, now=now or noon(next_month(month)))

    async def bills(self, **wanted: Any) -> list[BillRow]:
        """Bills, oldest first."""
        async with self.db.transaction(SYSTEM) as conn:
            page = await billing.list_bills(conn, PageRequest(500), BillFilter(project_id=self.project.id, **wanted))
        return sorted(page.items, key=lambda bill: bill.id)

    async def rows(self, query: LiteralString, *values: object) -> list[dict[str, Any]]:
        """What the database holds."""
        async with self.db.transaction(SYSTEM) as conn:
            return await (await conn.execute(query, values)).fetchall()

    async def proof(self) -> list[billing.Discrepancy]:
        """What the ledger and the bills disagree on."""
        async with self.db.transaction(SYSTEM) as conn:
            return await billing.discrepancies(conn, self.project.id)


async def failures_of(conn: Conn, run_id: int) -> Sequence[RunFailure]:
    """The first accounts that a run could not bill."""
    return (await billing.run_failures(conn, PageRequest(), run_id)).items


def noon(day: date) -> datetime:
    """04:00 UTC: the same local day in Shanghai."""
    return datetime(day.year, day.month, day.day, 4, tzinfo=UTC)


async def make_site(
    db: Database,
    flats: int = 2,
    *,
    services: Sequence[str] = tuple(FILES),
    code: str = "demo",
    zone: str = "Asia/Shanghai",
    currency: str = "CNY",
) -> Site:
    """The project with that many flats; nothing is read yet."""
    sealer = Sealer(Keys.generate())
    async with db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, code, "Demo", zone, currency)
        building = await estate.create_building(conn, project.id, "1", "Tower 1")
        made = []
        for n in range(flats):
            unit = await estate.create_unit(conn, project.id, building.id, f"{n:04}", area=Decimal("89.50"))
            person = await estate.create_person(conn, sealer, project.id, f"Resident {n}")
            account = await estate.create_account(conn, project.id, f"A-{n:04}", unit.id, person.id, date(2025, 1, 1))
            meters = [
                NewMeter(f"{medium[0].upper()}{n}", medium, unit.id, MODULI[medium], 10**9, date(2025, 1, 1))
                for medium in MODULI
            ]
            ids = [meter.id for meter in await metering.create_meters(conn, project.id, meters)]
            made.append(Flat(unit.id, account.id, person.id, dict(zip(MODULI, ids, strict=True))))
        tariff_ids = {service: await _publish(conn, project, service) for service in services}
        new = [
            NewAgreement(flat.account_id, service, tariff_id, SINCE, _meter(flat, service))
            for flat in made
            for service, tariff_id in tariff_ids.items()
        ]
        await billing.create_agreements(conn, project.id, new)
    return Site(db, project, tariff_ids, made)


async def _publish(conn: Conn, project: Project, service: str) -> int:
    content = load_yaml(TARIFFS / f"{FILES[service]}.yaml", TariffContent)
    content = content.model_copy(update={"currency": project.currency})
    return (await tariffs.publish(conn, project.id, service, service, service, content, date(2026, 1, 1))).tariff_id


def _meter(flat: Flat, service: str) -> int | None:
    return {str(medium): meter_id for medium, meter_id in flat.meters.items()}.get(service)
