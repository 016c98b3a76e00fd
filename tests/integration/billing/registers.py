"""A flat whose meter has registers of price periods: its tariff, what they read, its bill or why there is none."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from itertools import pairwise
from typing import Any

from cloud.billing import service as billing
from cloud.billing.documents.service import bill_document
from cloud.billing.explanation.models import ExplanationOut
from cloud.billing.records import Bill
from cloud.billing.service import RunOptions
from cloud.kit import i18n
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period, day_start, next_month
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.integration.billing.site import Site, failures_of, make_site, noon
from tests.unit.cloud.billing.by_hand import add_up

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
CHANNELS = {"total": 1, "sharp": 2, "peak": 3, "flat": 4, "valley": 5}
PRICES = {"peak": ["0.9173", "1.1"], "flat": ["0.6128", "0.8"], "valley": ["0.3071", "0.5"]}
HOURS = {"peak": ["08:00-12:00"], "flat": ["12:00-24:00"], "valley": ["00:00-08:00"]}
USED = {"peak": 61_230, "flat": 102_540, "valley": 44_810}
"""Watt-hours of January."""


def tariff(codes: tuple[str, ...] = ("peak", "flat", "valley"), **periods: Any) -> TariffContent:
    """Electricity in two tiers, each period with prices of its own."""
    prices = {code: PRICES.get(code, ["1.2", "1.4"]) for code in codes}
    return TariffContent.model_validate(
        {
            "currency": "CNY",
            "service": "electricity",
            "unit": "kWh",
            "tiers": {"bounds": [100], "window": {"kind": "month"}},
            "periods": {"codes": codes, "allocation": {"method": "proportional"}, **periods},
            "components": [{"kind": "energy", "code": "energy", "prices": prices}],
        }
    )


async def site_with(db: Database, content: TariffContent) -> Site:
    """One flat that pays by `content`; nothing is read yet."""
    site = await make_site(db, flats=1, services=("electricity",))
    return await pays_by(site, content)


async def pays_by(site: Site, content: TariffContent, since: date = JANUARY) -> Site:
    """The same site; from `since` on it pays by `content`."""
    async with site.db.transaction(SYSTEM) as conn:
        version = await tariffs.publish(conn, site.project.id, "tou", "TOU", "electricity", content, since)
        await conn.execute("UPDATE service_agreement SET tariff_id = %s", (version.tariff_id,))
    return replace(site, tariffs={"electricity": version.tariff_id})


async def reads(site: Site, at: Mapping[date, Mapping[str, int]]) -> None:
    """Readings of registers at the beginning of days, and usage of the total between them."""
    meter_id, zone = site.flats[0].meters["electricity"], site.project.zone
    async with site.db.transaction(SYSTEM) as conn, conn.cursor() as cursor:
        await cursor.executemany(
            "INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id) VALUES (%s, %s, %s, %s, %s)",
            [
                (meter_id, CHANNELS[name], day_start(day, zone), value, site.project.id)
                for day, values in at.items()
                for name, value in values.items()
            ],
        )
        for channel in ("total", "sharp"):
            days = [day for day in at if channel in at[day]]
            for first, last in pairwise(days):
                length = (day_start(last, zone) - day_start(first, zone)).total_seconds()
                await cursor.execute(
                    "INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)"
                    " VALUES (%s, %s, %s, %s, %s, %s)",
                    (
                        meter_id,
                        CHANNELS[channel],
                        day_start(first, zone),
                        int(length),
                        max(at[last][channel] - at[first][channel], 0),
                        site.project.id,
                    ),
                )


def after(used: Mapping[str, int], total: int | None = None) -> dict[date, dict[str, int]]:
    """Registers before and after January; the total counts them all unless another is said."""
    start = {name: 1_000_000 * channel for name, channel in CHANNELS.items() if name in used or name == "total"}
    counted = {**used, "total": sum(used.values()) if total is None else total}
    return {JANUARY: start, FEBRUARY: {name: value + counted[name] for name, value in start.items()}}


async def _run(site: Site, month: date, **options: Any) -> billing.BillRun:
    period = Period(month, next_month(month))
    async with site.db.transaction(SYSTEM) as conn:
        job = await billing.start_run(
            conn, site.project.id, period, options=RunOptions(**{"issue_at_once": True, **options})
        )
        run = await billing.run_of_job(conn, job)
    return await billing.execute_run(site.db, SYSTEM, run.id, now=noon(period.end))


async def bill_of(site: Site, month: date = JANUARY, **options: Any) -> Bill:
    """The newest bill; what it says of itself adds up by hand."""
    run = await _run(site, month, **options)
    async with site.db.transaction(SYSTEM) as conn:
        assert await failures_of(conn, run.id) == []
        bill = await billing.get_bill(conn, (await site.bills())[-1].id)
        add_up(ExplanationOut.of(bill, await billing.explain(conn, bill)).model_dump(mode="json"))
    return bill


async def notes_of(site: Site, bill: Bill) -> str:
    """The notes of the English document."""
    async with site.db.transaction(SYSTEM) as conn:
        found = await bill_document(conn, bill.summary.id, "en", i18n.load_catalogues()["en"], None)
    return "\n".join(note for block in found.blocks for note in block.notes)


async def refused(site: Site, month: date = JANUARY, **options: Any) -> tuple[str, str]:
    """Why the flat is not billed: code and detail."""
    run = await _run(site, month, **options)
    async with site.db.transaction(SYSTEM) as conn:
        (failure,) = await failures_of(conn, run.id)
    assert run.billed == 0
    return failure.code, failure.detail


def quantities(bill: Bill) -> dict[str, int]:
    """Watt-hours charged, by period."""
    found: dict[str, int] = {}
    for charge in bill.charges:
        for line in charge.lines:
            if line.kind == "usage":
                assert line.quantity is not None
                found[str(line.time_period)] = found.get(str(line.time_period), 0) + int(line.quantity.scaleb(3))
    return found
