"""Policies of lots: read, changed by people, and as matching needs them for a whole project."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

import structlog
from pydantic import ValidationError

from cloud.estate import service as estate
from cloud.kit.db import Conn
from cloud.kit.errors import InvalidInput, NotFound
from cloud.kit.money import minor_digits
from cloud.parking.places import repository as places
from cloud.parking.stays import policy_repository as repository
from cloud.parking.stays.matching import LotRules, lots_around
from cloud.parking.stays.policy import InnerTime, LotPolicy

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Lots:
    """The lots of a project. `roots`: the outermost lot around each, itself when there is none around it."""

    rules: Mapping[int, LotRules]
    policies: Mapping[int, LotPolicy]
    roots: Mapping[int, int]

    @property
    def inner_time(self) -> dict[int, InnerTime]:
        """What each lot does about time in lots inside it."""
        return {lot_id: policy.inner_time for lot_id, policy in self.policies.items()}

    def tailgating_within(self, lot_id: int) -> timedelta:
        """How soon after another vehicle is on its opening."""
        return timedelta(seconds=self.policies[lot_id].tailgating_within_seconds)


async def lots_of(conn: Conn, project_id: int) -> Lots:
    """What matching has to know of the lots of a project."""
    rows = await repository.lots(conn, project_id)
    policies = {row.id: _policy(row.id, row.content) for row in rows}
    rules = {row.id: policies[row.id].rules(row.parent_id, gated=row.gated) for row in rows}
    return Lots(rules, policies, {lot_id: [lot_id, *lots_around(lot_id, rules)][-1] for lot_id in rules})


async def get_policy(conn: Conn, lot_id: int) -> LotPolicy:
    """The policy in force; the usual one where nobody has set one. Raises NotFound."""
    await _project_of(conn, lot_id)
    return _policy(lot_id, await repository.policy(conn, lot_id))


async def set_policy(conn: Conn, lot_id: int, policy: LotPolicy, actor: str) -> LotPolicy:
    """Puts a policy in force, for what is matched from now on; who changed what is in the audit trail.

    Stays that are over stay as they are until a passage or correction of their vehicle is taken in. Raises NotFound,
    and InvalidInput for a fixed charge that the project's currency cannot have.
    """
    project_id = await _project_of(conn, lot_id)
    digits = minor_digits((await estate.get_project(conn, project_id)).currency)
    for one in policy.unseen_entry:
        if one.amount is not None and one.amount != round(one.amount, digits):
            raise InvalidInput("bad-amount", f"expected at most {digits} decimals", field="unseen_entry")
    await repository.keep_policy(conn, project_id, lot_id, policy.model_dump(mode="json"), actor)
    return policy


def _policy(lot_id: int, content: dict[str, object] | None) -> LotPolicy:
    """The usual one also where the lot's cannot be read any more: no passage of the project would be taken in."""
    try:
        return LotPolicy() if content is None else LotPolicy.model_validate(content)
    except ValidationError as error:
        _log.error("parking.bad_policy", lot=lot_id, error=str(error))
        return LotPolicy()


async def _project_of(conn: Conn, lot_id: int) -> int:
    lot = await places.lot(conn, lot_id)
    if lot is None:
        raise NotFound("no-lot", f"there is no parking lot {lot_id}", field="lot_id")
    return lot.project_id
