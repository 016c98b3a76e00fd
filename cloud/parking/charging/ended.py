"""Prices stays that are over, once all stays that count for the price are stored."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from cloud.kit.db import Conn
from cloud.parking.charging import ended_repository as repository
from cloud.parking.charging.circumstances import circumstances
from cloud.parking.charging.covering import Parked, covering_unseen
from cloud.parking.charging.ended_repository import PricedRow
from cloud.parking.charging.following import money_follows
from cloud.parking.fees.steps import covered_step, step_as_json
from cloud.parking.fees.versions import pricing
from cloud.parking.permits import covering as permits
from cloud.parking.stays import reading_repository
from cloud.parking.stays import repository as stays_repository


async def price_ended(
    conn: Conn, project_id: int, session_ids: Sequence[int], were: Sequence[Parked] = (), *, as_told: bool = False
) -> None:
    """Stores the fee of those of these stays that are over: both ends were seen, or the lot has a fixed price for them.

    Where stays of a day share free minutes, later stays of the same plate and day are priced anew as well, also those
    of the plates and days that these stays had until now (`were`). `as_told`: none of which nothing is owed becomes
    dearer. The caller has locked the plates.
    """
    await _price_unseen(conn, project_id, session_ids, as_told=as_told)
    stays = await repository.ended(conn, session_ids)
    if not stays and not were:
        return
    rates = await pricing(conn, project_id, sorted({stay.lot_id for stay in (*stays, *were)}))
    sharing = {version.lot_id for version in rates.versions if version.rule.daily_quota}
    if sharing:
        following = {
            *await repository.later_that_day(conn, session_ids, sorted(sharing), rates.zone.key),
            *await repository.later_than(
                conn, project_id, [one for one in were if one.lot_id in sharing], rates.zone.key
            ),
        }
        stays = [*stays, *await repository.ended(conn, sorted(following - {stay.id for stay in stays}))]
    paid = await reading_repository.payments(conn, [stay.id for stay in stays])
    given = await circumstances(conn, project_id, rates.zone, stays)
    rows: list[PricedRow] = []
    for stay in stays:
        version = rates.rule_for(stay.lot_id, stay.entered_at)
        if version is None:
            continue
        settled = paid.get(stay.id, [])
        result = rates.assess(version, stay.entered_at, stay.left_at, stay.vehicle_class, settled, given[stay.id])
        if result is None:
            continue
        steps = [step_as_json(step) for step in result.fee.steps]
        rows.append(PricedRow(stay.id, result.fee.amount, result.priced_until, steps, version.id))
    await repository.store_fees(conn, rows, as_told=as_told)


async def _price_unseen(conn: Conn, project_id: int, session_ids: Sequence[int], *, as_told: bool) -> None:
    """The fixed price of those whose entry nobody saw, nothing for those that lanes let out as covered."""
    stays = await repository.unseen(conn, session_ids)
    covered = await covering_unseen(conn, project_id, stays)
    rows: list[PricedRow] = []
    for stay in stays:
        cover = covered.get(stay.id)
        steps = [] if cover is None else [step_as_json(covered_step(stay.left_at, cover.name))]
        rows.append(PricedRow(stay.id, stay.fixed_fee if cover is None else Decimal(0), stay.left_at, steps, None))
    await repository.store_fees(conn, rows, as_told=as_told)


async def price_beside(conn: Conn, project_id: int, plates: Sequence[str], since: datetime) -> None:
    """Prices anew what is over of vehicles that share the spaces of their permits with these plates: a stay of one of
    them changed, from `since` on. The caller has locked all of them (`permits.affected_plates`).

    Also other stays of these plates: another vehicle may stand on the space at another time now, and not at theirs.
    """
    sharing = await permits.sharing_plates(conn, project_id, plates)
    if sharing:
        await price_ended(conn, project_id, await repository.ended_since(conn, project_id, sorted(sharing), since))
        await money_follows(conn, project_id, sharing)


async def price_cover(conn: Conn, project_id: int, plates: Sequence[str], since: datetime) -> None:
    """Prices anew what is over of plates for which it was agreed on afterwards what covers them from `since` on.

    What was paid beyond the new price is a surplus, and what is owed is priced anew. A stay of which nothing is owed
    becomes no dearer: its driver left with the price that he was told. Locks the plates.
    """
    await stays_repository.lock_plates(conn, project_id, plates)
    stays = await repository.ended_since(conn, project_id, plates, since)
    await price_ended(conn, project_id, stays, as_told=True)
    await money_follows(conn, project_id, plates)
