"""REST: reservations, and how many places of a lot may be reserved."""

from typing import Annotated

from fastapi import Query

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id, Listed
from cloud.kit.routing import rest_router
from cloud.parking.reservations import booking, service
from cloud.parking.reservations.models import (
    CancellationIn,
    ReservationIn,
    ReservationOut,
    ReservationQuery,
    ReservationRuleIn,
    ReservationRuleOut,
    ReservationRulesOut,
)

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Booker = Annotated[Scope, allow("parking.reserve")]
Setter = Annotated[Scope, allow("parking.write")]


@router.get("/parking-reservations")
async def list_reservations(scope: Reader, query: Annotated[ReservationQuery, Query()]) -> Listed[ReservationOut]:
    """Reservations, the last one made first; residents see their own."""
    page = await service.list_reservations(scope.conn, query.page(), query.wanted())
    return Listed(items=[ReservationOut.of(one) for one in page.items], next_cursor=page.next_cursor)


@router.get("/parking-reservations/{reservation_id}")
async def get_reservation(reservation_id: Id, scope: Reader) -> ReservationOut:
    """One reservation."""
    return ReservationOut.of(await service.get_reservation(scope.conn, reservation_id))


@router.post("/parking-reservations", status_code=201)
async def book(body: ReservationIn, scope: Booker, once: Once) -> ReservationOut:
    """Reserves a place. Of two who ask for the last one at a time, one gets it, the other a 409 `fully-reserved`."""

    async def make() -> ReservationOut:
        return ReservationOut.of(await booking.book(scope, body))

    return await once.answer(scope.conn, ReservationOut, make)


@router.post("/parking-reservations/{reservation_id}/cancellations", status_code=201)
async def cancel(reservation_id: Id, body: CancellationIn, scope: Booker, once: Once) -> ReservationOut:
    """Gives a reservation up before its vehicle came."""

    async def make() -> ReservationOut:
        return ReservationOut.of(await booking.cancel(scope, reservation_id, body.reason))

    return await once.answer(scope.conn, ReservationOut, make)


@router.get("/parking-lots/{lot_id}/reservation-rules")
async def list_rules(lot_id: Id, scope: Reader) -> ReservationRulesOut:
    """What may be reserved in a lot."""
    rules = await service.rules_of(scope.conn, [lot_id])
    return ReservationRulesOut(items=[ReservationRuleOut.model_validate(one) for one in rules])


@router.put("/parking-lots/{lot_id}/reservation-rules")
async def set_rule(lot_id: Id, body: ReservationRuleIn, scope: Setter) -> ReservationRuleOut:
    """Sets the rule of a class, or that for all others; what is reserved already stays as it is."""
    return ReservationRuleOut.model_validate(await service.set_rule(scope.conn, body.rule(lot_id)))
