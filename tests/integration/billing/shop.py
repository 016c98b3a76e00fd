"""A shop that pays rent, property fee, electricity and water, for tests of agreements to their end."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from typing import Any

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.concessions import service as conceded
from cloud.billing.concessions.service import NewConcession
from cloud.billing.records import Bill, BillLine
from cloud.billing.service import Ending, RunOptions, TaxStep
from cloud.kit.db import SYSTEM, Database
from cloud.kit.jobs import JobContext
from cloud.kit.periods import day_start
from cloud.metering.records import MAIN_CHANNEL, Medium
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.site import CHIEF, SINCE, Site, make_site, noon

TARIFFS: dict[str, dict[str, Any]] = {
    "electricity": {
        "unit": "kWh",
        "components": [
            {"kind": "energy", "code": "energy", "prices": {"all": ["0.85"]}},
            {"kind": "tax", "code": "vat", "percent": "13"},
        ],
    },
    "water": {
        "unit": "m3",
        "components": [
            {"kind": "energy", "code": "water", "prices": {"all": ["4.35"]}},
            {"kind": "tax", "code": "vat", "percent": "3", "inclusive": True},
        ],
    },
    "property": {
        "components": [
            {"kind": "area", "code": "property_fee", "price": "3.50"},
            {"kind": "tax", "code": "vat", "percent": "6"},
        ],
    },
}


@dataclass(frozen=True, slots=True)
class Shop:
    """The shop of 89.50 m² is flat 0 of the site; `moved_in` is the first day of all its agreements."""

    site: Site
    moved_in: date

    @property
    def account_id(self) -> int:
        """Who pays."""
        return self.site.flats[0].account_id

    async def read(self, medium: Medium, stretches: Sequence[tuple[date, date, int]]) -> None:
        """Usage by stretches without a gap, with the readings between them."""
        meter_id, zone = self.site.flats[0].meters[medium], self.site.project.zone
        channel, value = MAIN_CHANNEL[medium].number, 5_000_000
        readings, usage = [(day_start(stretches[0][0], zone), value)], []
        for first, until, quantity in stretches:
            start, end = day_start(first, zone), day_start(until, zone)
            value += quantity
            readings.append((end, value))
            usage.append((start, int((end - start).total_seconds()), quantity))
        async with self.site.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
            await cursor.executemany(
                """INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
                   VALUES (%s, %s, %s, %s, %s)""",
                [(meter_id, channel, at, register, self.site.project.id) for at, register in readings],
            )
            await cursor.executemany(
                """INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
                   VALUES (%s, %s, %s, %s, %s, %s)""",
                [
                    (meter_id, channel, start, length, quantity, self.site.project.id)
                    for start, length, quantity in usage
                ],
            )

    async def rent(self, amount: str = "8000", service: str = "rent", **more: Any) -> int:
        """A rent, from the first of the month of moving in on counted."""
        told = {"anchor": self.moved_in.replace(day=1)} | more
        new = billing.NewRent(self.account_id, service, self.moved_in, Decimal(amount), **told)
        async with self.site.db.transaction(SYSTEM) as conn:
            made, _ = await billing.create_rent(conn, self.site.project.id, new)
        return made.id

    async def concede(self, new: NewConcession) -> int:
        """A concession, approved."""
        async with self.site.db.transaction(SYSTEM) as conn:
            row = await conceded.file_concession(conn, self.site.project.id, new)
            await conceded.approve_concession(conn, row.terms.id, CHIEF, "papers seen")
        return row.terms.id

    async def bills(self) -> list[Bill]:
        """All bills and notes, oldest first."""
        async with self.site.db.transaction(SYSTEM) as conn:
            return [await billing.get_bill(conn, row.id) for row in await self.site.bills()]

    async def final_bill(self, ends_on: date, **more: Any) -> None:
        """Ends the account and bills the rest."""
        options = RunOptions(issue_at_once=True)
        async with self.site.db.transaction(SYSTEM) as conn:
            ending = Ending(self.account_id, ends_on, **more)
            run = await billing.run_of_job(conn, await billing.start_final_bill(conn, ending, options=options))
        await billing.execute_run(self.site.db, SYSTEM, run.id, now=noon(ends_on))

    async def work(self) -> int:
        """Does the re-ratings that were asked for; how many jobs there were."""
        asked = await self.site.rows("DELETE FROM job WHERE kind = 'billing.re-rate' RETURNING payload")
        for job in asked:
            await jobs.re_rate(JobContext(1, self.site.project.id, job["payload"], self.site.db))
        return len(asked)

    async def adjustments(self) -> list[dict[str, Any]]:
        """Differences of all adjustments, in the order of bills and lines."""
        rows = await self.site.rows("SELECT differences FROM adjustment ORDER BY id")
        return [one for row in rows for one in row["differences"]]


async def make_shop(db: Database, moved_in: date = SINCE) -> Shop:
    """A shop with all its agreements by tariffs; nothing is read, and no rent agreed."""
    site = await make_site(db, flats=1, services=())
    (flat,) = site.flats
    async with db.transaction(SYSTEM) as conn:
        for service, told in TARIFFS.items():
            content = TariffContent.model_validate({"currency": "CNY", "service": service, **told})
            made = await tariffs.publish(conn, site.project.id, service, service, service, content, SINCE)
            meters: dict[str, int] = {str(medium): meter for medium, meter in flat.meters.items()}
            await billing.create_agreement(
                conn, site.project.id, flat.account_id, service, made.tariff_id, meters.get(service), None, moved_in
            )
    return Shop(site, moved_in)


def lines(bill: Bill, service: str) -> list[tuple[str, str, str]]:
    """Kind, component and amount of the lines of a service."""
    return [(line.kind, line.component, str(line.amount)) for line in bill.lines if line.service == service]


def named(line: BillLine) -> tuple[str, int, str]:
    """The bill, line and period that a correction names."""
    return line.detail["bill"], line.detail["line"], line.detail["period"]


VAT = (TaxStep(SINCE, Decimal(9), inclusive=False),)
