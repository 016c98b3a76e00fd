"""Permits: made, changed, suspended; every change is told to the gateways in its transaction."""

from collections.abc import Collection, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from decimal import Decimal

from cloud.billing import service as billing
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.parking.charging.ended import price_cover
from cloud.parking.permits import card_repository, repository, space_repository, telling
from cloud.parking.permits.covering import affected_plates, covered
from cloud.parking.permits.placing import Standing, place, stays_whose_it_is
from cloud.parking.permits.records import (
    Covered,
    Holding,
    NewPermit,
    Permit,
    PermitDetail,
    PermitFilter,
    PermitKind,
)
from cloud.parking.permits.terms import WhenFreed
from cloud.parking.places import service as places
from cloud.parking.places.repository import lock_lanes
from cloud.parking.plates import valid_plate
from cloud.parking.spaces import service as spaces
from gateway.contract.limits import MAX_LANES_OF_PERMIT, MAX_LOTS, MAX_PLATES_OF_PERMIT

__all__ = [
    "Covered",
    "add_plate",
    "affected_plates",
    "change_permit",
    "covered",
    "create_permit",
    "get_detail",
    "get_permit",
    "list_permits",
    "locked_permit",
    "make_permit",
    "remove_plate",
    "resume",
    "settle_change",
    "suspend",
]


async def create_permit(
    conn: Conn, project_id: int, new: NewPermit, *, by: int | None = None, at: datetime | None = None
) -> Permit:
    """A permit that costs nothing, from its beginning on.

    Raises InvalidInput for a monthly card (those are sold), a bad plate, an empty time, no or another project's lots;
    NotFound for an unknown person, unit or account, or a space that is in none of the lots; Conflict when a plate has
    another permit at one of the lots in this time (`plate-has-permit`), or a space cannot be given
    (`standing.give_space`); what `check_lanes` raises.
    """
    if new.kind == "monthly-card":
        raise InvalidInput("card-is-sold", "a monthly card is sold as a product", field="kind")
    if new.valid_until is not None and new.valid_until <= new.valid_from:
        raise InvalidInput("bad-validity", "expected an end after the beginning", field="valid_until")
    terms = (new.spaces, new.when_freed, new.grace_days)
    permit_id = await make_permit(
        conn,
        project_id,
        new.kind,
        None,
        new.lot_ids,
        terms,
        new.holding,
        new.valid_from,
        vehicle_class=new.vehicle_class,
        lane_ids=new.lane_ids,
        by=by,
    )
    values = {
        "project_id": project_id,
        "permit_id": permit_id,
        "start": new.valid_from,
        "end": new.valid_until,
        "by": by,
    }
    await repository.insert_period(conn, {**values, "paid_by": "nothing", "amount": Decimal(0), "payment_id": None})
    return await settle_change(conn, project_id, permit_id, new.valid_from, at)


async def make_permit(
    conn: Conn,
    project_id: int,
    kind: PermitKind,
    product_id: int | None,
    lot_ids: Sequence[int],
    terms: tuple[int, WhenFreed, int],
    holding: Holding,
    since: datetime,
    *,
    vehicle_class: str,
    lane_ids: Sequence[int],
    by: int | None,
) -> int:
    """A permit with its lots and plates, without a time yet; `terms`: spaces, rule when one is freed, days of grace.

    Raises like `create_permit`. The caller says when it holds, then calls `settle_change`.
    """
    plates = _plates(holding.plates)
    await lock_lanes(conn, project_id, exclusive=False)
    await check_lots(conn, project_id, lot_ids)
    await check_lanes(conn, lot_ids, lane_ids)
    if holding.person_id is None and holding.unit_id is None and not holding.note.strip():
        raise InvalidInput("no-holder", "expected a person, a unit, or a note that says whose it is", field="person_id")
    spaces, when_freed, grace_days = terms
    values = {
        **asdict(replace(holding, note=holding.note.strip(), space=holding.space.strip())),
        "project_id": project_id,
        "kind": kind,
        "product_id": product_id,
        "spaces": spaces,
        "when_freed": when_freed,
        "grace_days": grace_days,
        "vehicle_class": vehicle_class,
        "by": by,
    }
    permit_id = await repository.insert_permit(conn, values, lot_ids)
    await repository.insert_plates(conn, (project_id, permit_id), plates, since)
    await repository.insert_lanes(conn, permit_id, set(lane_ids), None)
    permit = Standing(project_id, permit_id, lot_ids, holding.person_id, holding.unit_id)
    await place(conn, permit, holding.space_ids, datetime.now(UTC))
    return permit_id


async def settle_change(
    conn: Conn,
    project_id: int,
    permit_id: int,
    since: datetime,
    at: datetime | None = None,
    *,
    removed: Sequence[str] = (),
) -> Permit:
    """What follows from a change that counts from `since` on; the permit now. The caller has locked the lanes.

    Which plates stand under it, what their stays cost that are over, what gateways are told. `removed` are plates that
    may not be of the permit any more. Raises Conflict (`plate-has-permit`, `space-has-permit`).
    """
    now = at or datetime.now(UTC)
    await repository.write_cover(conn, permit_id)
    await space_repository.write_times(conn, permit_id)
    plates = sorted({*removed, *(one.plate for one in await repository.plates(conn, permit_id))})
    await price_cover(conn, project_id, plates, since)
    await telling.tell(conn, project_id, [permit_id], now)
    return await get_permit(conn, permit_id, now)


async def get_permit(conn: Conn, permit_id: int, at: datetime | None = None) -> Permit:
    """One permit as it stands. Raises NotFound."""
    found = await repository.permit(conn, permit_id, at or datetime.now(UTC))
    if found is None:
        raise NotFound("no-permit", f"there is no permit {permit_id}", field="permit_id")
    return found


async def get_detail(conn: Conn, permit_id: int, at: datetime | None = None) -> PermitDetail:
    """One permit with its history. Raises NotFound."""
    return PermitDetail(
        permit=await get_permit(conn, permit_id, at),
        plates=await repository.plates(conn, permit_id),
        lanes=await repository.lanes(conn, permit_id),
        classes_before=await repository.classes_before(conn, permit_id),
        periods=await repository.periods(conn, permit_id),
        months=await card_repository.months(conn, permit_id),
        numbered=await spaces.by_ids(conn, await space_repository.of_permit(conn, permit_id), at or datetime.now(UTC)),
    )


async def list_permits(conn: Conn, page: PageRequest, wanted: PermitFilter, at: datetime | None = None) -> Page[Permit]:
    """Permits, the newest first; residents see their own. Raises InvalidInput for a bad plate."""
    if wanted.plate is not None:
        wanted = replace(wanted, plate=valid_plate(wanted.plate))
    return await repository.permits(conn, page, wanted, at or datetime.now(UTC))


async def add_plate(
    conn: Conn, permit_id: int, plate: str, since: datetime | None = None, at: datetime | None = None
) -> Permit:
    """Another vehicle from `since` (default: now) on, which may be past: stays that are over are covered then too.

    Raises NotFound; InvalidInput for a bad plate or too many of them; Conflict when the permit ended, has the plate
    already, or another permit does.
    """
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    bare = valid_plate(plate)
    begins = max(since or now, found.valid_from)
    known = await repository.plates(conn, permit_id)
    current = [one for one in known if one.valid_until is None or one.valid_until > begins]
    if any(one.plate == bare for one in current):
        raise Conflict("plate-there", f"{bare} is a plate of this permit already", field="plate")
    if len(current) >= MAX_PLATES_OF_PERMIT:
        raise InvalidInput("too-many-plates", f"expected at most {MAX_PLATES_OF_PERMIT} plates", field="plate")
    await repository.insert_plates(conn, (found.project_id, permit_id), [bare], begins)
    return await settle_change(conn, found.project_id, permit_id, begins, now)


async def remove_plate(
    conn: Conn, permit_id: int, plate: str, until: datetime | None = None, at: datetime | None = None
) -> Permit:
    """A vehicle is not of the permit any more from `until` (default: now) on; its history stays.

    When that is past, stays that are over are priced anew: others may have had its space. Raises NotFound, also for a
    plate that is not of the permit then.
    """
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    bare, ends = valid_plate(plate), until or now
    if not await repository.remove_plate(conn, permit_id, bare, ends):
        raise NotFound("no-such-plate", f"{plate} is no plate of this permit", field="plate")
    return await settle_change(conn, found.project_id, permit_id, ends, now, removed=[bare])


async def suspend(conn: Conn, permit_id: int, reason: str, at: datetime | None = None) -> Permit:
    """Covers nothing from now on, until it is resumed; its time goes on.

    Raises NotFound, InvalidInput without a reason, Conflict when it ended or is suspended.
    """
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    if found.suspended_reason is not None:
        raise Conflict("already-suspended", "this permit is suspended already")
    await repository.insert_suspension(conn, (found.project_id, permit_id), now, billing.stated(reason)[:300])
    return await settle_change(conn, found.project_id, permit_id, now, now)


async def resume(conn: Conn, permit_id: int, at: datetime | None = None) -> Permit:
    """Covers again from now on. Raises NotFound, Conflict when it ended or is not suspended."""
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    if not await repository.end_suspension(conn, permit_id, now):
        raise Conflict("not-suspended", "this permit is not suspended")
    return await settle_change(conn, found.project_id, permit_id, now, now)


async def change_permit(
    conn: Conn, permit_id: int, holding: Holding, *, renews: bool, at: datetime | None = None
) -> Permit:
    """Who holds it, who pays, where it stands, whether it is renewed by itself; plates are changed one by one.

    Raises NotFound; InvalidInput without a holder, and for a renewal by itself of what is no card with an account;
    Conflict when it ended, and when it comes to another holder with a space that is not his (`space-of-another`).
    """
    now = at or datetime.now(UTC)
    found = await locked_permit(conn, permit_id, now)
    if holding.person_id is None and holding.unit_id is None and not holding.note.strip():
        raise InvalidInput("no-holder", "expected a person, a unit, or a note that says whose it is", field="person_id")
    if renews and (found.product_id is None or holding.account_id is None):
        raise InvalidInput("no-account", "only a card with an account is renewed by itself", field="renews")
    if (holding.person_id, holding.unit_id) != (found.person_id, found.unit_id):
        permit = Standing(found.project_id, permit_id, found.lot_ids, holding.person_id, holding.unit_id)
        await stays_whose_it_is(conn, permit, now)
    values = {**asdict(holding), "renews": renews, "note": holding.note.strip(), "space": holding.space.strip()}
    await repository.change_permit(conn, permit_id, values)
    return await get_permit(conn, permit_id, now)


async def locked_permit(conn: Conn, permit_id: int, at: datetime) -> Permit:
    """A permit that nobody else changes before this transaction ends, nor the lanes that it may be for.

    Raises NotFound; Conflict when it ended.
    """
    await lock_lanes(conn, (await get_permit(conn, permit_id, at)).project_id, exclusive=False)
    await repository.lock(conn, [permit_id])
    found = await get_permit(conn, permit_id, at)
    if found.ended_at is not None:
        raise Conflict("permit-ended", "this permit was ended: make a new one")
    return found


def _plates(plates: Sequence[str]) -> list[str]:
    bare = sorted({valid_plate(plate) for plate in plates})
    if not 1 <= len(bare) <= MAX_PLATES_OF_PERMIT:
        raise InvalidInput("too-many-plates", f"expected 1 to {MAX_PLATES_OF_PERMIT} plates", field="plates")
    return bare


async def check_lots(conn: Conn, project_id: int, lot_ids: Sequence[int]) -> None:
    """Raises InvalidInput for none or too many, NotFound for one that is not of the project."""
    if not 1 <= len(set(lot_ids)) <= MAX_LOTS:
        raise InvalidInput("no-lots", f"expected 1 to {MAX_LOTS} lots for which it holds", field="lot_ids")
    for lot_id in sorted(set(lot_ids)):
        try:
            here = (await places.get_lot(conn, lot_id)).project_id == project_id
        except NotFound:
            here = False
        if not here:
            raise NotFound("no-lot", f"there is no lot {lot_id}", field="lot_ids")


async def check_lanes(
    conn: Conn, lot_ids: Sequence[int], lane_ids: Collection[int], *, known: Collection[int] = ()
) -> None:
    """Whether vehicles can be asked to come in by one of these lanes; none: they come in by any.

    Raises NotFound for a lane of another lot; InvalidInput for an exit, for one that is out of use and not `known`, for
    too many, and when a lot has none of them: the permit would never hold there.
    """
    lanes = await places.lanes_by_id(conn, lane_ids)
    for lane_id in sorted(set(lane_ids)):
        lane = lanes.get(lane_id)
        if lane is None or lane.lot_id not in lot_ids:
            raise NotFound("no-lane", f"these lots have no lane {lane_id}", field="lane_ids")
        if lane.direction != "entry" or (lane.retired_at is not None and lane_id not in known):
            raise InvalidInput("not-an-entry", f"lane {lane.code} is no entry in use", field="lane_ids", lane=lane.code)
    if len(lanes) > MAX_LANES_OF_PERMIT:
        raise InvalidInput("too-many-lanes", f"expected at most {MAX_LANES_OF_PERMIT} lanes", field="lane_ids")
    without = set(lot_ids) - {lane.lot_id for lane in lanes.values()}
    if lanes and without:
        lot = await places.get_lot(conn, min(without))
        detail = f"lot {lot.code} has none of these lanes: expected at least one of each lot"
        raise InvalidInput("lot-without-lane", detail, field="lane_ids", lot=lot.code)
