"""Steps of a fee as they are stored and shown: amounts as strings, instants in ISO 8601."""

from collections.abc import Mapping
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from typing import Any

from cloud.parking.fees.pricing import FeeStep


def step_as_json(step: FeeStep, zone: tzinfo = UTC) -> dict[str, object]:
    """One step, its instants on the clock of `zone`."""
    return {
        "kind": step.kind,
        "start": step.start.astimezone(zone).isoformat(),
        "end": step.end.astimezone(zone).isoformat(),
        "units": step.units,
        "unit_minutes": step.unit_minutes,
        "price": str(step.price),
        "amount": str(step.amount),
        "label": step.label,
    }


def step_of_json(stored: Mapping[str, Any]) -> FeeStep:
    """One step as `step_as_json` said it."""
    return FeeStep(
        stored["kind"],
        datetime.fromisoformat(stored["start"]),
        datetime.fromisoformat(stored["end"]),
        stored["units"],
        stored["unit_minutes"],
        Decimal(stored["price"]),
        Decimal(stored["amount"]),
        stored.get("label", ""),
    )


def covered_step(at: datetime, names: str) -> FeeStep:
    """The one step of a stay that nobody saw begin and that costs nothing by what covers it at the exit."""
    return FeeStep("covered", at, at, 0, 0, Decimal(0), Decimal(0), names)
