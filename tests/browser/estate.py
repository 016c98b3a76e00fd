"""A small estate made through the services: four flats, their meters and readings, a bill run, a parking lot."""

import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

from cloud.billing import service as billing
from cloud.devices import configuring
from cloud.devices import service as devices
from cloud.estate import service as estate
from cloud.estate.records import Account, Project, Unit
from cloud.identity import service as identity
from cloud.identity.policy import Grant
from cloud.ingest.messages import Incoming, Refused, read
from cloud.ingest.writer import Writer
from cloud.kit.db import SYSTEM, Conn, Database
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period, day_start, local_day, previous_month
from cloud.kit.security import Keys, Sealer
from cloud.metering import service as metering
from cloud.metering.jobs import derive_usage
from cloud.metering.records import MAIN_CHANNEL, Medium, Meter, NewMeter
from cloud.parking import service as parking
from cloud.parking.fees.models import ParkingRule
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.places.service import change_lot
from cloud.parking.records import Lot, LotClass, SessionFilter
from cloud.parking.spaces import service as spaces
from cloud.parking.spaces.records import NewHolder, NewSpace, SpaceFilter
from cloud.parking.stays.matching import Direction
from cloud.payments import service as payments
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from gateway.contract import codec, topics
from gateway.contract.configuration import ConfigurationReport, ConfigurationState
from gateway.contract.messages import (
    Action,
    CommandResult,
    CommandState,
    DeviceHealth,
    Gap,
    GapReason,
    Health,
    Outcome,
    Passage,
    Point,
)
from gateway.contract.topics import Up

ZONE = ZoneInfo("Asia/Shanghai")
STAFF, RESIDENT, PASSWORD = "manager", "zhang", "correct horse battery"
RESIDENT_PLATE, WAITING_PLATE = "京A12345", "京B67890"

_POINTS_PER_MESSAGE = 1_500
_ELECTRICITY = TariffContent.model_validate(
    {
        "currency": "CNY",
        "service": "electricity",
        "unit": "kWh",
        "tiers": {"mode": "graduated", "bounds": [240, 400], "window": {"kind": "month"}},
        "components": [{"kind": "energy", "code": "energy", "prices": {"all": ["0.4883", "0.5383", "0.7883"]}}],
        "rounding": {"level": "line"},
    }
)
_WATER = TariffContent.model_validate(
    {
        "currency": "CNY",
        "service": "water",
        "unit": "m3",
        "tiers": {"mode": "graduated", "bounds": [180, 260], "window": {"kind": "year"}},
        "components": [
            {"kind": "energy", "code": "water", "prices": {"all": ["2.07", "4.07", "6.07"]}},
            {"kind": "energy", "code": "sewage", "prices": {"all": ["1.36", "1.36", "1.36"]}},
        ],
        "rounding": {"level": "line"},
    }
)
_RULE = ParkingRule.model_validate(
    {
        "name": "Visitors",
        "schedule": {"free_minutes": 30, "unit": {"minutes": 60, "price": "5.00"}, "caps": {"per_24_hours": "40.00"}},
    }
)


@dataclass(frozen=True, slots=True)
class Estate:
    """What the tests ask about. The resident lives in the first flat; its electricity meter has a gap."""

    project: Project
    billed: Period
    meters: list[Meter]
    accounts: list[Account]
    gap_day: date
    waiting_session: int


async def make_estate(owner_dsn: str, keys: Keys, now: datetime) -> Estate:
    """Fills the database; readings reach up to `now`."""
    async with (
        Database(owner_dsn, None, max_size=2) as owner,
        Database(owner_dsn, "gatemeter_worker", max_size=2) as db,
        Database(owner_dsn, "gatemeter_ingest", max_size=2) as door,
    ):
        today = local_day(now, ZONE)
        billed = previous_month(today)
        async with owner.transaction(SYSTEM) as conn:
            project = await estate.create_project(conn, "yunqi", "云栖花园", ZONE.key, "CNY")
            units, accounts = await _people(conn, Sealer(keys), project, billed.start)
            meters = await _meters(conn, project, units, billed.start)
            await _agreements(conn, project, accounts, meters, billed.start)
        await _readings(door, db, meters, billed.start, now)
        await _bills(db, project, accounts, billed, today)
        waiting_session = await _parking(owner, project, accounts[0], now)
        flat = [meter for pair in meters for meter in pair]
        return Estate(project, billed, flat, accounts, billed.start + timedelta(days=9), waiting_session)


async def sign_in(owner_dsn: str, *logins: str) -> dict[str, str]:
    """What the cookies of new sessions of these users hold, by login."""
    expires_at = datetime.now(UTC) + timedelta(hours=12)
    async with Database(owner_dsn, None, max_size=1) as owner, owner.transaction(SYSTEM) as conn:
        users = await (await conn.execute("SELECT login, id FROM app_user")).fetchall()
        ids = {row["login"]: row["id"] for row in users}
        return {
            login: (await identity.issue_token(conn, ids[login], "session", "test", expires_at)).secret
            for login in logins
        }


async def _people(conn: Conn, sealer: Sealer, project: Project, since: date) -> tuple[list[Unit], list[Account]]:
    building = await estate.create_building(conn, project.id, "A", "A 座")
    units, accounts = [], []
    for number, name in enumerate(("张伟", "王芳", "李娜", "刘洋"), start=1):
        unit = await estate.create_unit(
            conn, project.id, building.id, f"{number}01", floor=number, area=Decimal("89.50")
        )
        person = await estate.create_person(conn, sealer, project.id, name, phone=f"1380013800{number}")
        await estate.create_occupancy(conn, project.id, unit.id, person.id, "owner", since)
        account = await estate.create_account(conn, project.id, f"A{number:04}", unit.id, person.id, since)
        units.append(unit)
        accounts.append(account)
    await identity.create_user(conn, STAFF, "陈经理", PASSWORD, grants=[Grant("admin", None)])
    user_id = await identity.create_user(conn, RESIDENT, "张伟", PASSWORD)
    await identity.link_resident(conn, user_id, project.id, accounts[0].person_id)
    return units, accounts


async def _meters(conn: Conn, project: Project, units: Sequence[Unit], since: date) -> list[tuple[Meter, Meter]]:
    edge = await devices.create_gateway(conn, project.id, "gw-1", "A 座配电间")
    pairs = []
    for unit in units:
        new = [
            NewMeter(f"E-{unit.code}", "electricity", unit.id, 10**9, 60_000, since),
            NewMeter(f"W-{unit.code}", "water", unit.id, 10**11, 5_000_000, since),
        ]
        electricity, water = await metering.create_meters(conn, project.id, new)
        for meter in (electricity, water):
            # Nobody has connected the last flat's water meter: it never reports, and that account cannot be billed.
            if meter.code != "W-401":
                device = await devices.create_device(conn, project.id, edge.id, meter.code.lower(), meter.medium)
                await devices.bind(conn, device.id, meter.id, day_start(since, ZONE))
        pairs.append((electricity, water))
    await _run_of_gateway(conn, project, edge.id, pairs)
    return pairs


async def _run_of_gateway(conn: Conn, project: Project, gateway_id: int, pairs: Sequence[tuple[Meter, Meter]]) -> None:
    """What its meters can be told, what it gave up, an order that failed, two configurations of which one came back."""
    now_ms = int(datetime.now(UTC).timestamp() * 1000)
    supplies = {
        "electricity": ("read-now", "switch-on", "switch-off", "set-clock"),
        "water": ("read-now", "close-valve"),
    }
    told = tuple(
        DeviceHealth(meter.code.lower(), now_ms, 1, 0, 0, 0, 9_000, supplies[meter.medium])
        for pair in pairs
        for meter in pair
    )
    # It has batches that the cloud refused, and was told what it does not understand.
    unwell = Health(now_ms, "0.9.1", 60, 12, 9_000, now_ms - 60_000, 2, told, not_understood=3, refused=1)
    await devices.apply_health(conn, gateway_id, unwell)
    device = await devices.get_device_by_code(conn, project.id, "gw-1", "w-101")
    assert device is not None
    lost = Gap("e-101", "voltage_l1", now_ms - 3_600_000, now_ms, 240, GapReason.THINNED)
    unknown = Gap("", "", now_ms - 7_200_000, now_ms, 0, GapReason.DAMAGED_FILE)
    await devices.keep_gaps(conn, project.id, gateway_id, [lost, unknown])
    order = await devices.queue_command(
        conn, project.id, device.id, Action.CLOSE_VALVE, {}, "user:manager", "漏水", timedelta(minutes=1)
    )
    failed = CommandResult(str(order), CommandState.FAILED, now_ms, "the valve does not move")
    await devices.apply_results(conn, {(project.id, gateway_id): [failed]})
    for site in ("periods:\n  billing_s: 900\n  instant_s: 60\n", "periods:\n  billing_s: 300\n  instant_s: 60\n"):
        made = await configuring.configure(conn, gateway_id, site, {}, "user:manager", "夜间少抄表")
        state = ConfigurationState.CONFIRMED if made.number == 1 else ConfigurationState.ROLLED_BACK
        report = ConfigurationReport(
            made.number, state, now_ms, "" if made.number == 1 else "line a: no answer of e-101"
        )
        await configuring.apply_configurations(conn, gateway_id, [report])


async def _agreements(
    conn: Conn, project: Project, accounts: Sequence[Account], meters: Sequence[tuple[Meter, Meter]], since: date
) -> None:
    services: list[tuple[Medium, TariffContent]] = [("electricity", _ELECTRICITY), ("water", _WATER)]
    for position, (service, content) in enumerate(services):
        version = await tariffs.publish(conn, project.id, service, service.title(), service, content, since)
        for account, pair in zip(accounts, meters, strict=True):
            meter = pair[position]
            await billing.create_agreement(
                conn, project.id, account.id, service, version.tariff_id, meter.id, meter.unit_id, since
            )


async def _readings(
    door: Database, db: Database, meters: Sequence[tuple[Meter, Meter]], since: date, now: datetime
) -> None:
    random = Random(20)
    points: list[Point] = []
    for pair in meters:
        for meter in pair:
            points += _of_meter(meter, since, now, random)
    points.append(Point("unknown-7", "energy_import_total", int(now.timestamp() * 1000), 1, 0))
    writer = Writer(door)
    messages = [_message(seq, part) for seq, part in enumerate(_parts(points), start=1)]
    bad = read(topics.up("yunqi", "gw-1", Up.READINGS), b'{"not": "a batch"}', int(now.timestamp() * 1000))
    await writer.store([*messages, bad])
    await derive_usage(JobContext(1, None, {}, db))


def _of_meter(meter: Meter, since: date, now: datetime, random: Random) -> Iterator[Point]:
    """Readings on the hour with an evening peak; the first flat's meters miss 30 hours from the tenth day on."""
    at, value = day_start(since, ZONE), random.randrange(10**6, 10**8)
    gap = day_start(since + timedelta(days=9), ZONE) + timedelta(hours=5)
    while at <= now:
        if meter.code != "W-401" and not (meter.code == "E-101" and gap <= at < gap + timedelta(hours=30)):
            yield Point(meter.code.lower(), MAIN_CHANNEL[meter.medium].code, int(at.timestamp() * 1000), value, 0)
        busy = 3 if at.astimezone(ZONE).hour in (7, 8, 18, 19, 20, 21) else 1
        value += (
            busy * random.randrange(150, 480) if meter.medium == "electricity" else busy * random.randrange(0, 20_000)
        )
        at += timedelta(hours=1)
    if meter.code != "W-401":
        yield Point(meter.code.lower(), MAIN_CHANNEL[meter.medium].code, int(now.timestamp() * 1000), value, 0)


def _parts(points: Sequence[Point]) -> Iterator[Sequence[Point]]:
    for start in range(0, len(points), _POINTS_PER_MESSAGE):
        yield points[start : start + _POINTS_PER_MESSAGE]


def _message(seq: int, points: Sequence[Point]) -> Incoming | Refused:
    sent_ms = max(point.taken_at for point in points)
    payload = codec.encode_envelope(str(uuid.UUID(int=7)), seq, sent_ms, codec.encode_body(points))
    return read(topics.up("yunqi", "gw-1", Up.READINGS), payload, int(datetime.now(UTC).timestamp() * 1000))


async def _bills(db: Database, project: Project, accounts: Sequence[Account], billed: Period, today: date) -> None:
    async with db.transaction(SYSTEM) as conn:
        options = billing.RunOptions(issue_at_once=True)
        await billing.start_run(conn, project.id, billed, options=options)
        run_id = (await billing.list_runs(conn, PageRequest(), project.id)).items[0].id
    await billing.execute_run(db, SYSTEM, run_id)
    async with db.transaction(SYSTEM) as conn:
        bills = (await billing.list_bills(conn, PageRequest())).items
        second = next(bill for bill in bills if bill.account_id == accounts[1].id)
        await payments.record_payment(conn, accounts[1].id, second.total, "cash", today, "R-0001")


async def _places(conn: Conn, lot: Lot, resident: Account, now: datetime) -> None:
    """Numbered spaces, one of them the resident's, and a plate on each list."""
    await spaces.create_range(conn, lot.id, "B1-001", "B1-012", NewSpace("", "地下一层A区"))
    first = (await spaces.list_spaces(conn, PageRequest(1), SpaceFilter(lot_id=lot.id), now)).items[0]
    holder = NewHolder("owner", resident.person_id, resident.unit_id, local_day(now, ZONE) - timedelta(days=90), None)
    await spaces.add_holder(conn, first.id, holder, "staff", now)
    await change_lot(conn, lot, [LotClass("large", kept=2), LotClass("new-energy", kept=6, at_most=20)])
    for listing, plate, reason in (("black", "京A66666", "多次堵塞消防通道"), ("white", "京O00001", "消防车")):
        new = NewEntry(lot.project_id, listing, plate, reason, None, now, None)  # type: ignore[arg-type]
        await lists.add(conn, new, "user:manager", now)


async def _parking(db: Database, project: Project, resident: Account, now: datetime) -> int:
    async with db.transaction(SYSTEM) as conn:
        edge = await devices.create_gateway(conn, project.id, "gw-2", "南门岗亭")
        lot = await parking.create_lot(conn, project.id, "p1", "地面停车场", 60)
        await parking.publish_rule(conn, lot.id, _RULE, local_day(now, ZONE) - timedelta(days=30))
        lanes: list[tuple[str, str, Direction]] = [("in", "南门入口", "entry"), ("out", "南门出口", "exit")]
        for code, name, direction in lanes:
            device = await devices.create_device(conn, project.id, edge.id, code, "barrier")
            await parking.create_lane(conn, lot.id, code, name, direction, device.id)
        since = now - timedelta(days=30)
        await parking.register_vehicle(conn, project.id, RESIDENT_PLATE, resident.person_id, valid_from=since)
        await _places(conn, lot, resident, now)
    yesterday = now - timedelta(days=1)
    passages = [
        _passage(1, "in", RESIDENT_PLATE, yesterday, "passed"),
        _passage(2, "out", RESIDENT_PLATE, yesterday + timedelta(minutes=100), "passed"),
        _passage(3, "in", RESIDENT_PLATE, now - timedelta(minutes=50), "passed"),
        _passage(4, "in", WAITING_PLATE, now - timedelta(minutes=130), "passed"),
        _passage(5, "out", WAITING_PLATE, now - timedelta(seconds=20), "arrived"),
        # Nobody saw this one come; and a device whose clock a power cut has set back.
        _passage(6, "out", WAITING_PLATE[:-1] + "X", yesterday, "passed"),
        _passage(7, "in", WAITING_PLATE, datetime(2001, 1, 1, tzinfo=UTC), "passed"),
    ]
    async with db.transaction(SYSTEM) as conn:
        await parking.apply_passages(conn, project.id, "gw-2", passages, now)
    async with db.transaction(SYSTEM) as conn:
        wanted = SessionFilter(plate=WAITING_PLATE)
        return (await parking.list_sessions(conn, PageRequest(), wanted)).items[0].id


def _passage(number: int, device: str, plate: str, at: datetime, outcome: str) -> Passage:
    direction = "entry" if device == "in" else "exit"
    taken_ms = int(at.timestamp() * 1000)
    return Passage(str(uuid.UUID(int=number, version=4)), device, plate, taken_ms, Outcome(outcome), direction)
