"""Visitor passes that residents and staff give, and vehicles that residents say are theirs."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

import psycopg

from cloud.billing import service as billing
from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.jobs import enqueue
from cloud.kit.paging import MAX_LIMIT, Page, PageRequest
from cloud.kit.periods import day_start, local_day, month_of
from cloud.parking.charging.ended import price_cover
from cloud.parking.charging.policy import money_policy
from cloud.parking.places.service import list_lots
from cloud.parking.plates import valid_plate
from cloud.parking.records import Vehicle
from cloud.parking.vehicles.service import register_vehicle
from cloud.parking.visitors import repository
from cloud.parking.visitors.records import RequestState, VehicleRequest, VisitorPass

PRICE_COVER: Final = "parking.price-cover"
"""The job that prices stays that are over by a pass of a resident: he sees none of them."""
_LONGEST_OF_STAFF: Final = timedelta(days=366)


@dataclass(frozen=True, slots=True)
class WantedPass:
    """A pass as somebody asks for it. `lot_ids` empty: all lots of the project."""

    plate: str
    since: datetime
    until: datetime
    free: bool = True
    lot_ids: tuple[int, ...] = ()
    note: str = ""


async def give_pass(
    conn: Conn,
    project_id: int,
    wanted: WantedPass,
    *,
    person_id: int | None = None,
    by: int | None = None,
    now: datetime | None = None,
) -> VisitorPass:
    """Lets a plate in for a time. Gateways hear of it within a minute.

    A resident (`person_id`) gives as many a month, as long and for as much as the project's policy lets him; the month
    is the local one in which the pass begins, and one that was taken back before it began does not count. A free one
    may begin in the past: stays that are over are covered then too. Raises NotFound for a lot, InvalidInput for a bad
    plate or time, Conflict beyond the policy.
    """
    moment = now or datetime.now(UTC)
    plate = valid_plate(wanted.plate)
    if wanted.until <= wanted.since or wanted.until <= moment:
        raise InvalidInput("bad-validity", "expected an end after the beginning and after now", field="until")
    if wanted.until - wanted.since > _LONGEST_OF_STAFF:
        raise InvalidInput("pass-too-long", "expected a year at most", field="until")
    if person_id is not None:
        await _within_policy(conn, project_id, person_id, wanted)
    values: dict[str, object] = {
        "project_id": project_id,
        "person_id": person_id,
        "plate": plate,
        "since": wanted.since,
        "until": wanted.until,
        "free": wanted.free,
        "note": wanted.note.strip()[:200],
        "by": by,
    }
    given = await get_pass(conn, await repository.insert_pass(conn, values, await _lots(conn, project_id, wanted)))
    if given.free and given.since < moment:
        if person_id is None:
            await price_cover(conn, project_id, [plate], given.since)
        else:
            await enqueue(conn, PRICE_COVER, {"pass_id": given.id}, project_id=project_id, created_by=by)
    return given


async def price_by_pass(conn: Conn, pass_id: int) -> None:
    """Prices anew what is over of a pass's plate; see `price_cover`. Raises NotFound."""
    given = await get_pass(conn, pass_id)
    await price_cover(conn, given.project_id, [given.plate], given.since)


async def revoke_pass(conn: Conn, pass_id: int, now: datetime | None = None) -> VisitorPass:
    """Takes a pass back; a vehicle that is inside pays from now on. Raises NotFound, Conflict when it holds no more."""
    moment = now or datetime.now(UTC)
    found = await get_pass(conn, pass_id)
    if not found.holds(moment):
        raise Conflict("pass-over", "the pass holds no more")
    await repository.revoke(conn, pass_id, moment)
    return await get_pass(conn, pass_id)


async def get_pass(conn: Conn, pass_id: int) -> VisitorPass:
    """One pass. Raises NotFound."""
    found = await repository.visitor_pass(conn, pass_id)
    if found is None:
        raise NotFound("no-pass", f"there is no visitor pass {pass_id}", field="pass_id")
    return found


async def list_passes(
    conn: Conn,
    page: PageRequest,
    project_id: int | None = None,
    plate: str | None = None,
    holding_at: datetime | None = None,
) -> Page[VisitorPass]:
    """Passes, newest first; residents see those they gave. `holding_at`: only those that can be used then or later."""
    return await repository.passes(conn, page, project_id, None if plate is None else valid_plate(plate), holding_at)


async def ask_for_vehicle(
    conn: Conn, project_id: int, person_id: int, plate: str, vehicle_class: str = "small", *, by: int | None
) -> VehicleRequest | Vehicle:
    """A resident says that a vehicle is his: staff decide, or it is his at once, as the project wants it.

    Raises InvalidInput for a bad plate; Conflict when he has asked already or somebody has it registered.
    """
    wanted = valid_plate(plate)
    try:
        async with conn.transaction():
            if (await money_policy(conn, project_id)).vehicles == "at-once":
                return await register_vehicle(conn, project_id, wanted, person_id, vehicle_class)
            values: dict[str, object] = {
                "project_id": project_id,
                "person_id": person_id,
                "plate": wanted,
                "vehicle_class": vehicle_class,
                "by": by,
            }
            request_id = await repository.insert_request(conn, values)
    except psycopg.errors.UniqueViolation as error:
        raise Conflict("asked-already", "the vehicle was asked for already", field="plate") from error
    except psycopg.errors.ExclusionViolation as error:
        raise Conflict("plate-registered", "the vehicle is registered already", field="plate") from error
    return await get_request(conn, request_id)


async def decide_request(conn: Conn, request_id: int, note: str, *, approve: bool, by: int | None) -> VehicleRequest:
    """Staff register the vehicle that was asked for, or say why not.

    Raises NotFound; Conflict when it was decided or somebody else has it; InvalidInput for a refusal without a reason.
    """
    found = await repository.vehicle_request(conn, request_id, lock=True)
    if found is None:
        raise NotFound("no-request", f"there is no request {request_id}", field="request_id")
    if found.state != "asked":
        raise Conflict("request-decided", f"the request is {found.state}")
    state: RequestState = "approved" if approve else "rejected"
    reason = note.strip()[:1000] if approve else billing.stated(note)
    if approve:
        try:
            async with conn.transaction():
                await register_vehicle(conn, found.project_id, found.plate, found.person_id, found.vehicle_class)
        except psycopg.errors.ExclusionViolation as error:
            raise Conflict("plate-registered", "the vehicle is registered already", field="plate") from error
    await repository.decide_request(conn, request_id, state, reason, by)
    return await get_request(conn, request_id)


async def get_request(conn: Conn, request_id: int) -> VehicleRequest:
    """One request. Raises NotFound."""
    found = await repository.vehicle_request(conn, request_id)
    if found is None:
        raise NotFound("no-request", f"there is no request {request_id}", field="request_id")
    return found


async def list_requests(
    conn: Conn, page: PageRequest, project_id: int | None = None, state: RequestState | None = None
) -> Page[VehicleRequest]:
    """Vehicles that were asked for, newest first; residents see their own requests."""
    return await repository.requests(conn, page, project_id, state)


async def person_in(conn: Conn, persons: Sequence[int], project_id: int) -> int:
    """Which of a resident's records is that of the project. Raises NotFound."""
    for person_id in persons:
        if await estate.project_of_person(conn, person_id) == project_id:
            return person_id
    raise NotFound("no-project", "no project is open to you here")


async def _within_policy(conn: Conn, project_id: int, person_id: int, wanted: WantedPass) -> None:
    policy = await money_policy(conn, project_id)
    if wanted.until - wanted.since > timedelta(hours=policy.pass_hours):
        raise InvalidInput("pass-too-long", f"expected {policy.pass_hours} hours at most", field="until")
    if wanted.free and not policy.free_passes:
        raise Conflict("pass-not-free", "passes of residents are not free here", field="free")
    await repository.lock_giver(conn, person_id)
    zone = (await estate.get_project(conn, project_id)).zone
    month = month_of(local_day(wanted.since, zone))
    given = await repository.given(conn, person_id, day_start(month.start, zone), day_start(month.end, zone))
    if given >= policy.passes_a_month:
        raise Conflict("passes-used-up", f"{policy.passes_a_month} passes a month are given already")


async def _lots(conn: Conn, project_id: int, wanted: WantedPass) -> list[int]:
    lots = (await list_lots(conn, PageRequest(MAX_LIMIT), project_id)).items
    known = [lot.id for lot in lots]
    for lot_id in wanted.lot_ids:
        if lot_id not in known:
            raise NotFound("no-lot", f"project {project_id} has no lot {lot_id}", field="lot_ids")
    chosen = sorted(set(wanted.lot_ids)) or known
    if not chosen:
        raise Conflict("no-lot", "the project has no lot")
    return chosen
