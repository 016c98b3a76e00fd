"""What the standing charges of a piece go by: floor area, load, capacity, power factor; or why it is not known."""

from dataclasses import dataclass
from decimal import Decimal

from cloud.billing.charges.facts import Facts
from cloud.billing.charges.pieces import Piece, Unbillable
from cloud.metering.periods.loads import Loads
from cloud.tariffs.rating.power_factor import power_factor

LONGEST_LOAD_S = 3600
"""A mean over a longer interval is no load to charge."""


@dataclass(frozen=True, slots=True)
class Basis:
    """`area` in m², `demand_w` in W, `capacity_va` in VA, `power_factor` in hundredths; 0 (100) where none is asked."""

    area: Decimal = Decimal(0)
    demand_w: int = 0
    capacity_va: int = 0
    power_factor: int = 100


def basis(piece: Piece, facts: Facts) -> Basis:
    """What the tariff of a piece asks for. Raises Unbillable naming what is missing."""
    content, service = piece.version.content, piece.agreement.service
    if content.currency != facts.project.currency:
        raise Unbillable("other-currency", f"{service}: the tariff is in {content.currency}")
    kinds = {part.kind for part in content.components}
    area = facts.area(piece)
    if "area" in kinds and area <= 0:
        raise Unbillable("missing-area", f"{service}: the unit has no billed area")
    capacity = piece.agreement.capacity_va or 0
    if "capacity" in kinds and not capacity:
        raise Unbillable("missing-capacity", f"{service}: the agreement names no capacity")
    loads = facts.loads(piece)
    return Basis(
        area,
        _demand(piece, loads) if "demand" in kinds else 0,
        capacity,
        _power_factor(piece, loads) if "power_factor" in kinds else 100,
    )


def _demand(piece: Piece, loads: Loads | None) -> int:
    if loads is None or not 0 < loads.longest_s <= LONGEST_LOAD_S:
        raise Unbillable(
            "missing-load", f"{piece.agreement.service}: a load needs intervals of an hour or less in {piece.period}"
        )
    return loads.highest_w


def _power_factor(piece: Piece, loads: Loads | None) -> int:
    if loads is None or loads.reactive_varh is None:
        raise Unbillable(
            "missing-reactive", f"{piece.agreement.service}: no reactive energy was counted in {piece.period}"
        )
    return power_factor(loads.active_wh, loads.reactive_varh)
