"""REST: fee rules of lots, published in versions, and what one would come to."""

from typing import Annotated

from cloud.identity.guards import Scope, allow
from cloud.kit.idempotency import Once
from cloud.kit.inputs import Id
from cloud.kit.routing import rest_router
from cloud.parking.fees import service
from cloud.parking.fees.rest_models import ParkingRuleIn, RuleVersionOut, RuleVersionsOut, TrialIn, TrialOut
from cloud.parking.fees.trying import try_rule
from cloud.parking.places.service import get_lot

router = rest_router("parking")

Reader = Annotated[Scope, allow("parking.read")]
Writer = Annotated[Scope, allow("parking.write")]


@router.get("/parking-lots/{lot_id}/rules")
async def list_rules(lot_id: Id, scope: Reader) -> RuleVersionsOut:
    """Versions of the lot's fee rule, oldest first."""
    await get_lot(scope.conn, lot_id)
    versions = await service.rules_of_lot(scope.conn, lot_id)
    return RuleVersionsOut(items=[RuleVersionOut.of(one) for one in versions])


@router.post("/parking-lots/{lot_id}/rules", status_code=201)
async def publish(lot_id: Id, body: ParkingRuleIn, scope: Writer, once: Once) -> RuleVersionOut:
    """Publishes a fee rule; the one before it ends on its first day."""

    async def make() -> RuleVersionOut:
        made = await service.publish_rule(scope.conn, lot_id, body.content, body.valid_from, scope.caller.user_id)
        return RuleVersionOut.of(made)

    return await once.answer(scope.conn, RuleVersionOut, make)


@router.post("/parking-lots/{lot_id}/rule-trials", status_code=201)
async def try_out(lot_id: Id, body: TrialIn, scope: Writer, once: Once) -> TrialOut:
    """Prices example stays and the last stays of the lot by a rule that is not published."""

    async def make() -> TrialOut:
        return TrialOut.of(await try_rule(scope.conn, lot_id, body.content, body.day))

    return await once.answer(scope.conn, TrialOut, make)
