"""How far a household is in its tiers: "x kWh to tier 2"."""

from datetime import date, datetime
from decimal import Decimal

from cloud.billing import repository
from cloud.billing.charges.filings import Filing, WindowParts, window_parts
from cloud.billing.records import Agreement, TierBand, TierGauge
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.money import from_minor
from cloud.kit.periods import Period, day_start, local_day, month_of
from cloud.metering import service as metering
from cloud.tariffs import service as tariffs
from cloud.tariffs.rating.plan import Plan, plan


async def tier_gauge(conn: Conn, meter_id: int, now: datetime) -> TierGauge | None:
    """The gauge of a meter at `now`; None where no tariff with a meter is agreed for it today."""
    for agreement in await repository.agreements(conn, meter_id=meter_id):
        gauge = await _gauge(conn, agreement, meter_id, now)
        if gauge is not None:
            return gauge
    return None


async def _gauge(conn: Conn, agreement: Agreement, meter_id: int, now: datetime) -> TierGauge | None:
    project = await estate.get_project(conn, agreement.project_id)
    today = local_day(now, project.zone)
    if agreement.valid_from > today or (agreement.valid_until is not None and agreement.valid_until <= today):
        return None
    version = await tariffs.version_on(conn, agreement.tariff, today)
    meter = (await metering.meters_by_id(conn, [meter_id])).get(meter_id)
    if version is None or meter is None or not version.content.energy:
        return None
    window = version.content.tiers.window.around(month_of(today))
    since = day_start(max(window.start, agreement.valid_from), project.zone)
    usage = await metering.usage_between(conn, meter_id, meter.main_channel.number, since, now)
    unit_id = agreement.unit_id or meter.unit_id
    filed = await estate.households_between(conn, [] if unit_id is None else [unit_id], window)
    filings = [Filing(one.valid.start, one.valid.end, one.persons) for one in filed]
    stay = Period(agreement.valid_from, agreement.valid_until or date.max)
    prepared = plan(version.content, version.content.season_on(today))
    tiers = _bands(prepared, window_parts(version.content, window, stay, month_of(today), filings))
    used = from_minor(usage.quantity, prepared.exponent)
    here = next(band for band in tiers if band.upper is None or used <= band.upper)
    return TierGauge(
        service=agreement.service,
        meter_id=meter_id,
        unit=version.content.unit or "",
        currency=version.content.currency,
        used=used,
        tier=here.number,
        tier_upper=here.upper,
        remaining=None if here.upper is None else here.upper - used,
        tiers=tiers,
        price_now=here.price,
        window=window,
    )


def _bands(prepared: Plan, parts: WindowParts) -> tuple[TierBand, ...]:
    bounds = prepared.bounds_for(parts.steps, parts.covered, parts.whole)
    uppers: list[Decimal | None] = [from_minor(bound, prepared.exponent) for bound in bounds]
    return tuple(
        TierBand(tier + prepared.first_tier, upper, _price(prepared, tier))
        for tier, upper in enumerate([*uppers, None])
    )


def _price(prepared: Plan, tier: int) -> Decimal | None:
    """Price of a unit in a tier, all components together; None when it depends on the time of use or on packages."""
    if prepared.content.periods is not None or prepared.package is not None:
        return None
    slots = [slot for slot in prepared.slots if slot.kind == "usage" and slot.tier == tier and not slot.single]
    return sum(
        (
            from_minor(slot.price * slot.times, prepared.price_places + slot.exponent - prepared.exponent)
            for slot in slots
        ),
        Decimal(0),
    )
