"""Open adjustments as lines of the bill or note that takes them up."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from itertools import groupby
from typing import Any

from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.repository import Adjustment
from cloud.kit.db import Conn

Corrections = Mapping[int, Sequence[Adjustment]]
"""Open adjustments by account."""


async def open_corrections(conn: Conn, account_ids: Sequence[int]) -> Corrections:
    """What no bill of these accounts has taken up yet, locked until the transaction ends."""
    found = await adjustments_repository.open_of_accounts(conn, account_ids)
    return {account_id: list(mine) for account_id, mine in groupby(found, key=lambda one: one.account_id)}


def correction_total(adjustments: Sequence[Adjustment]) -> Decimal:
    """What they come to: negative where the account gets something back."""
    return sum((one.difference for one in adjustments), Decimal(0))


def correction_inputs(adjustments: Sequence[Adjustment]) -> list[dict[str, object]]:
    """What the inputs of the bill say of them."""
    return [
        {"adjustment": one.id, "charge": one.charge_id, "revision": one.revision, "difference": one.difference}
        for one in adjustments
    ]


def correction_lines(adjustments: Sequence[Adjustment]) -> list[dict[str, Any]]:
    """Their lines as the database keeps them, without place on the bill."""
    return [
        {**line, "kind": "adjustment", "service": one.service, "charge_id": one.charge_id}
        for one in adjustments
        for line in one.differences
    ]
