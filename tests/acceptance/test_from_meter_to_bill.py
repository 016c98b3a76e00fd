"""Readings come in over the wire, become usage and a bill: its lines add up and cite readings that exist."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from rich.progress import TaskID

from cloud.billing import service as billing
from cloud.billing.records import Bill, Charge
from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.money import round_half_up
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period, day_start, next_month
from cloud.kit.security import Sealer
from cloud.kit.yaml_files import load_yaml
from cloud.metering import service as metering
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from gateway.templates.library import firmware_config
from gateway.uplink import BrokerSettings
from simulators.demo.delivery import delivery
from simulators.demo.estate import MEDIA
from simulators.demo.options import ZONE
from simulators.demo.plan import months_before
from simulators.demo.progress import Step
from simulators.demo.readings import full_hour, history_batches, reading_times
from simulators.demo.usage import all_meters, usage_is_derived
from simulators.modbus import curves
from tests.acceptance.system import (
    GATEWAY,
    PASSWORDS,
    PROJECT,
    System,
    create_metered_device,
    create_project,
    running_system,
    until,
)

SEED = 5
FLATS = 3
SERVICES = {"electricity": "beijing-electricity.yaml", "water": "beijing-water.yaml", "property": "property-fee.yaml"}
AREA = Decimal("89.50")


@pytest.mark.slow
async def test_a_bill_adds_up_and_cites_the_readings_it_follows_from(
    tmp_path: Path, owner_dsn: str, worker_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GW_PASSWORD", PASSWORDS["gateway"])
    now = datetime.now(UTC)
    today = now.astimezone(ZONE).date()
    since = months_before(today, 2)
    month = Period(months_before(today, 1), months_before(today, 0))
    with running_system(tmp_path, owner_dsn, {}) as system:
        project_id = await set_up(worker_db, Sealer(system.keys), since)
        system.start_ingest()
        system.start_worker()
        await deliver(system, since, now)
        meters = await all_meters(worker_db, SYSTEM, project_id)
        step = Step(None, TaskID(0), None)
        start, end = day_start(since, ZONE), full_hour(now)
        await usage_is_derived(worker_db, SYSTEM, meters, start, end, step, 30)
        bills = await run_bills(worker_db, project_id, month)
        system.stop("worker")
        system.stop("ingest")

    assert len(bills) == FLATS
    for bill in bills:
        assert bill.summary.total == sum(line.amount for line in bill.lines) > 0
        assert {charge.service for charge in bill.charges} == set(SERVICES)
        for charge in bill.charges:
            assert charge.amount == sum(line.amount for line in charge.lines)
            assert charge.period == month
            if charge.meter_id is not None:
                await cited_readings_exist(worker_db, charge, month, {meter.id: meter.code for meter in meters})
        fee = next(charge for charge in bill.charges if charge.service == "property")
        assert fee.amount == Decimal("210.33"), "89.50 m² × 2.35"
        lines_can_be_added_up_by_hand(bill)


async def set_up(db: Database, sealer: Sealer, since: date) -> int:
    async with db.transaction(SYSTEM) as conn:
        project, gateway_id = await create_project(conn)
        building = await estate.create_building(conn, project.id, "1", "1")
        ids = {}
        for service, file in SERVICES.items():
            content = load_yaml(firmware_config() / "tariffs" / file, TariffContent)
            published = await tariffs.publish(conn, project.id, service, service, service, content, since)
            ids[service] = published.tariff_id
        agreements = []
        for number in range(1, FLATS + 1):
            unit = await estate.create_unit(conn, project.id, building.id, f"{number:04}", area=AREA)
            person = await estate.create_person(conn, sealer, project.id, f"P{number}", phone=f"1380000000{number}")
            await estate.create_occupancy(conn, project.id, unit.id, person.id, "owner", since)
            account = await estate.create_account(conn, project.id, f"A{number}", unit.id, person.id, since)
            meters: dict[str, int] = {
                medium: await create_metered_device(
                    conn, project, gateway_id, f"{medium[0]}-1-{number:04}", medium, since, unit_id=unit.id
                )
                for medium in MEDIA
            }
            for service, tariff_id in ids.items():
                agreements.append(
                    billing.NewAgreement(account.id, service, tariff_id, since, meters.get(service), unit.id)
                )
        await billing.create_agreements(conn, project.id, agreements)
    return project.id


async def deliver(system: System, since: date, now: datetime) -> None:
    """The readings of all meters, by the way that a gateway's take."""
    broker = BrokerSettings(
        host=system.broker.host,
        port=system.broker.port,
        username=f"{PROJECT}.{GATEWAY}",
        password_env="GW_PASSWORD",
        resend_after_s=2.0,
    )
    times = reading_times(since, full_hour(now), ZONE)
    async with delivery(system.folder / "history" / "outbox.sqlite", broker, PROJECT, GATEWAY) as deliverer:
        for number in range(1, FLATS + 1):
            for medium in MEDIA:
                for points in history_batches(SEED, f"{medium[0]}-1-{number:04}", medium, times, ZONE):
                    await deliverer.readings(points)


async def run_bills(db: Database, project_id: int, month: Period) -> Sequence[Bill]:
    """Asks for a run, waits for its preview, approves it and waits until the worker has issued it."""
    async with db.transaction(SYSTEM) as conn:
        await billing.start_run(conn, project_id, month)

    def reached(state: str) -> Callable[[], Awaitable[bool]]:
        async def now() -> bool:
            async with db.transaction(SYSTEM) as conn:
                (run,) = (await billing.list_runs(conn, PageRequest(5), project_id)).items
            assert run.state != "failed"
            return run.state == state

        return now

    await until(reached("preview"), "the preview of the bill run")
    async with db.transaction(SYSTEM) as conn:
        (run,) = (await billing.list_runs(conn, PageRequest(5), project_id)).items
        await billing.approve_run(conn, run.id)
    await until(reached("issued"), "the bill run")
    async with db.transaction(SYSTEM) as conn:
        bills = (await billing.list_bills(conn, PageRequest(50), billing.BillFilter(project_id=project_id))).items
        return [await billing.get_bill(conn, bill.id) for bill in bills]


async def cited_readings_exist(db: Database, charge: Charge, month: Period, codes: dict[int, str]) -> None:
    """Both boundary readings stand in the database as cited, at the local midnights, and differ by the usage billed."""
    assert charge.meter_id is not None
    assert charge.channel is not None
    assert charge.opening_value is not None
    assert charge.closing_value is not None
    assert charge.opening_at == day_start(month.start, ZONE)
    assert charge.closing_at == day_start(month.end, ZONE)
    for taken_at, value in ((charge.opening_at, charge.opening_value), (charge.closing_at, charge.closing_value)):
        async with db.transaction(SYSTEM) as conn:
            found = await metering.boundary_readings(conn, [(charge.meter_id, taken_at)])
        reading = found[(charge.meter_id, taken_at)]
        assert (reading.taken_at, reading.value) == (taken_at, value)
        device = codes[charge.meter_id].lower()
        medium = {"e": "electricity", "w": "water"}[device[0]]
        assert value == int(curves.cumulative(SEED, device, medium, taken_at, ZONE)), "what the meter showed"
    assert charge.quantity == charge.closing_value - charge.opening_value > 0


def lines_can_be_added_up_by_hand(bill: Bill) -> None:
    """Quantity × price is the amount of its line, to the cent."""
    assert next_month(bill.summary.period.start) == bill.summary.period.end
    for line in bill.lines:
        if line.kind == "usage":
            assert line.quantity is not None
            assert line.price is not None
            assert abs(round_half_up(line.quantity * line.price) - line.amount) <= Decimal("0.01")
