"""Which merchant somebody stands for, and what he does in the merchant's name.

A merchant's user reads only what is his merchant's: the walls of the database see to that. What he does looks at stays,
which he does not see, so it is done for the project once it is certain whose coupons they are.
"""

from datetime import date

from fastapi import Request

from cloud.identity.guards import Scope, for_the_project
from cloud.kit.errors import NotFound
from cloud.parking.coupons import giving, service
from cloud.parking.coupons.records import HandedOut, Merchant, Redeemed, Statement


async def own_merchant(scope: Scope) -> Merchant:
    """The merchant of the caller. Raises NotFound for staff, who are of none."""
    for merchant_id in scope.caller.merchants:
        return await service.get_merchant(scope.conn, merchant_id)
    raise NotFound("no-merchant", "you give out the coupons of no merchant")


async def give(request: Request, scope: Scope, batch_id: int, plate: str) -> Redeemed:
    """Gives a coupon to a plate; counted, because the answer tells whether the plate is inside.

    Raises like `giving.give`, and TooManyRequests.
    """
    merchant = await own_merchant(scope)
    request.app.state.plate_throttle.count(f"merchant {merchant.id}", f"merchant {merchant.id} {plate}")
    async with for_the_project(scope, merchant.project_id) as conn:
        return await giving.give(conn, merchant.id, batch_id, plate, scope.caller.actor)


async def hand_out(scope: Scope, batch_id: int) -> HandedOut:
    """A code to be scanned. Raises like `giving.hand_out`."""
    merchant = await own_merchant(scope)
    async with for_the_project(scope, merchant.project_id) as conn:
        return await giving.hand_out(conn, merchant.id, batch_id, scope.caller.actor)


async def statement(scope: Scope, month: date) -> Statement:
    """What the merchant's coupons come to in the month around a day: what they took off is read off the stays."""
    merchant = await own_merchant(scope)
    async with for_the_project(scope, merchant.project_id) as conn:
        return await service.statement(conn, merchant.id, month)
