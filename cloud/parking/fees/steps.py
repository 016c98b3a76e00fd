"""Steps of a fee as they are stored and shown: amounts as strings, instants in ISO 8601."""

from datetime import UTC, tzinfo

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
