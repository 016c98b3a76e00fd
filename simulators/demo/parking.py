"""What an estate has of parking beside stays: permits, cards, lists, visitors, reservations, merchants, a shift.

All of it is made by the services, as staff would. Vehicles that are named here have no stays of the past days, so that
nothing that was paid is put right again.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Final
from uuid import UUID

from cloud.devices import service as devices
from cloud.identity import logins
from cloud.kit.db import Asker, Conn, Database
from cloud.kit.paging import MAX_LIMIT, PageRequest
from cloud.kit.periods import day_start, local_day
from cloud.parking import service as parking
from cloud.parking.coupons import giving
from cloud.parking.coupons import service as coupons
from cloud.parking.coupons.records import NewBatch
from cloud.parking.lists import service as lists
from cloud.parking.lists.records import NewEntry
from cloud.parking.permits import cards
from cloud.parking.permits import service as permits
from cloud.parking.permits.records import Holding, NewPermit, NewProduct, Pay
from cloud.parking.records import Lane, Quote, Session, SessionFilter
from cloud.parking.reservations import service as reservations
from cloud.parking.reservations.records import ReservationRule, Wanted
from cloud.parking.shifts import service as shifts
from cloud.parking.spaces import service as spaces
from cloud.parking.spaces.records import NewSpace
from cloud.parking.stays import tickets
from cloud.parking.visitors import service as visitors
from cloud.parking.visitors.service import WantedPass
from simulators.barrier.plates import Vehicle
from simulators.demo.options import ZONE

MERCHANT: Final = "巷口面馆"
OWING: Final = "京Y2R506"
"""The vehicle that nobody pays for: it waits at the exit when the barriers run."""
_ADMIN: Final = "user:admin"
_OPENED: Final = (("delivery", "快递三轮车"), ("plate-unread", ""))
_CARD: Final = Decimal("300.00")


@dataclass(frozen=True, slots=True)
class Place:
    """Where and for whom it is made. `users`: ids by login."""

    project_id: int
    lot_id: int
    person_id: int
    users: dict[str, int]


async def furnish(db: Database, asker: Asker, place: Place, unread: UUID | None, now: datetime) -> None:
    """All of it, the shift last; what an earlier start made is left. `unread`: the passage of a car without a plate."""
    async with db.transaction(asker) as conn:
        if not (await coupons.list_merchants(conn, PageRequest(1), place.project_id)).items:
            await _make(conn, place, unread, now)
    await _shifts(db, asker, place)


async def _make(conn: Conn, place: Place, unread: UUID | None, now: datetime) -> None:
    await _money(conn, place)
    await _permits(conn, place, now)
    await _lists(conn, place, now)
    await _visitors(conn, place, now)
    await _reservations(conn, place, now)
    await _merchants(conn, place, now)
    if unread is not None:
        await tickets.issue_ticket(conn, unread, "user:guard", now)


async def place_of(conn: Conn, project_id: int, person_id: int, users: dict[str, int]) -> Place:
    """The place with the project's first lot."""
    lot = (await parking.list_lots(conn, PageRequest(1), project_id)).items[0]
    return Place(project_id, lot.id, person_id, users)


async def _money(conn: Conn, place: Place) -> None:
    wanted = parking.MoneyPolicy(debts="show", tax_percent=Decimal(5))
    await parking.set_money_policy(conn, place.project_id, wanted, public=True)


async def _permits(conn: Conn, place: Place, now: datetime) -> None:
    lots, today = (place.lot_id,), local_day(now, ZONE)
    await spaces.create_range(conn, place.lot_id, "A001", "A040", NewSpace("A001", "东区"))
    own = tuple(await spaces.by_numbers(conn, lots, ["A001"]))
    family = Holding(("京A6K201", "京A6K202"), place.person_id, note="两车一位", space_ids=own)
    begun = day_start(today - timedelta(days=60), ZONE)
    by = place.users["admin"]
    await permits.create_permit(
        conn, place.project_id, NewPermit("owner-space", lots, begun, None, family, spaces=1), by=by
    )
    staff = Holding(("京N8P315", "京N8P316"), note="物业工程部")
    await permits.create_permit(conn, place.project_id, NewPermit("staff", lots, begun, None, staff), by=by)
    made = await cards.create_product(conn, place.project_id, NewProduct("地面月卡", _CARD, lots, grace_days=3))
    sold = (("京Q3M710", 27), ("京P5T826", 12), ("京AD73615", 0))
    for plate, days in sold:
        bought = now - timedelta(days=days)
        holder = Holding((plate,), place.person_id if not days else None, note="月卡用户")
        await cards.sell(conn, made.id, holder, 1, Pay(_CARD, "wechat"), by=by, at=bought)


async def _lists(conn: Conn, place: Place, now: datetime) -> None:
    for listing, plate, reason, days in (
        ("white", "京A1120急", "社区医院急救车", None),
        ("white", "京G55119", "消防执勤车", None),
        ("black", "京F90417", "多次逃费，须到办公室处理", 90),
    ):
        until = None if days is None else now + timedelta(days=days)
        entry = NewEntry(place.project_id, listing, plate, reason, None, now - timedelta(days=3), until)  # type: ignore[arg-type]
        await lists.add(conn, entry, _ADMIN, now)


async def _visitors(conn: Conn, place: Place, now: datetime) -> None:
    for plate, since, hours, person, free in (
        ("京L7C558", now - timedelta(hours=1), 6, place.person_id, True),
        ("沪A8D902", now + timedelta(days=1), 12, place.person_id, True),
        ("京E40R16", now - timedelta(hours=2), 10, None, False),
    ):
        wanted = WantedPass(plate, since, since + timedelta(hours=hours), free, note="" if person else "电梯维保")
        await visitors.give_pass(conn, place.project_id, wanted, person_id=person, by=place.users["admin"], now=now)
    await visitors.ask_for_vehicle(conn, place.project_id, place.person_id, "京A3W667", by=place.users["resident"])


async def _reservations(conn: Conn, place: Place, now: datetime) -> None:
    await reservations.set_rule(conn, ReservationRule(place.lot_id, "", 6, no_show_minutes=30))
    for plate, after, hours, person in (
        ("京H2V903", 2, 3, None),
        ("京M61X08", 5, 2, None),
        ("京A3W667", 26, 4, place.person_id),
    ):
        since = (now + timedelta(hours=after)).replace(minute=0, second=0, microsecond=0)
        wanted = Wanted(place.lot_id, plate, "small", since, since + timedelta(hours=hours))
        await reservations.book(conn, wanted, _ADMIN, person_id=person, now=now)


async def _merchants(conn: Conn, place: Place, now: datetime) -> None:
    today = local_day(now, ZONE)
    noodles = await coupons.create_merchant(conn, place.project_id, MERCHANT, "monthly", "李老板 13800000000")
    gym = await coupons.create_merchant(conn, place.project_id, "健身房", "balance", "前台")
    await coupons.take_payment(conn, gym.id, Decimal("500.00"), "transfer", today, created_by=place.users["admin"])
    year = today.replace(month=12, day=31) + timedelta(days=1)
    two_hours = NewBatch(noodles.id, "hours", Decimal(2), Decimal("3.00"), 200, today, year, per_plate_and_day=1)
    batch = await coupons.issue(conn, two_hours, _ADMIN, now)
    free = NewBatch(noodles.id, "free", Decimal(0), Decimal("10.00"), 20, today, year, stackable=False)
    await coupons.issue(conn, free, _ADMIN, now)
    half = NewBatch(gym.id, "percentage", Decimal(50), Decimal("4.00"), 100, today, year)
    await coupons.issue(conn, half, _ADMIN, now)
    due = [session for session, _ in await _due(conn, place.project_id, now) if session.plate != OWING]
    for session in due[-3:]:
        await giving.give(conn, noodles.id, batch.id, session.plate, "user:merchant", now)
    await giving.hand_out(conn, noodles.id, batch.id, "user:merchant", now)
    await logins.link_merchant(conn, place.users["merchant"], place.project_id, noodles.id)


async def _shifts(db: Database, asker: Asker, place: Place) -> None:
    """A shift that was handed over and confirmed, and the one of now. Each in a transaction: money is of a time."""
    guard = replace(asker, user_id=place.users["guard"])
    async with db.transaction(guard) as conn:
        known = await shifts.current_shift(conn, place.project_id, place.users["guard"])
        shift = known or await shifts.begin(conn, place.project_id, "东门岗亭", place.users["guard"], "门岗")
    async with db.transaction(guard) as conn:
        now = datetime.now(UTC)
        due = [one for one in await _due(conn, place.project_id, now) if one[0].plate != OWING]
        for session, quote in due[:2]:
            await parking.pay(
                conn, session.id, quote.total, "cash", "user:guard", created_by=place.users["guard"], at=now
            )
        for lane, (code, words) in zip(await _lanes(conn, place), _OPENED, strict=False):
            order = await parking.open_lane(conn, lane.id, words, "user:guard", code)
            # The gateway does not run yet: it must not open for whoever stands there when it does.
            await devices.withdraw_command(conn, order, "no gateway ran yet")
    async with db.transaction(guard) as conn:
        taken = {one.method: one.taken - one.returned for one in (await shifts.detail(conn, shift.id)).takings}
        counted = {"cash": taken.get("cash", Decimal(0)) + Decimal("5.00")}
        await shifts.hand_over(
            conn, shift.id, counted, "多出 5 元，司机未等找零", user_id=place.users["guard"], actor="user:guard",
            may_end_others=False,
        )  # fmt: skip
        await shifts.confirm(conn, shift.id, "", user_id=place.users["cashier"], name="收费员")
        await shifts.begin(conn, place.project_id, "东门岗亭", place.users["guard"], "门岗")


async def _lanes(conn: Conn, place: Place) -> Sequence[Lane]:
    return (await parking.list_lanes(conn, PageRequest(MAX_LIMIT), place.project_id)).items


async def who_is_inside(conn: Conn, project_id: int, now: datetime) -> list[Vehicle]:
    """Vehicles with a plate that are in the lots now; those who would have to pay first, the most first."""
    owing = [session for session, _ in await _due(conn, project_id, now)]
    others = [session for session in await _inside(conn, project_id) if session not in owing]
    return [Vehicle(session.plate, session.vehicle_class) for session in (*owing, *others)]


async def _due(conn: Conn, project_id: int, now: datetime) -> list[tuple[Session, Quote]]:
    """Stays of vehicles that are inside and would have to pay now, the most first."""
    quoted = [(session, await parking.quote(conn, session.id, now)) for session in await _inside(conn, project_id)]
    return sorted(((session, quote) for session, quote in quoted if quote.due), key=lambda one: -one[1].due)


async def _inside(conn: Conn, project_id: int) -> list[Session]:
    """Stays that can be priced, of vehicles with a plate."""
    wanted = SessionFilter(project_id=project_id, state="open")
    found = (await parking.list_sessions(conn, PageRequest(MAX_LIMIT), wanted)).items
    return [session for session in found if session.entry_seen and session.plate and not session.plate.startswith("#")]


async def user_ids(conn: Conn, wanted: tuple[str, ...]) -> dict[str, int]:
    """Ids of the demo's users by login."""
    return {login: await logins.user_id(conn, login) for login in wanted}
