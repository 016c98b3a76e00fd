"""A charge as the database keeps it: the row, its lines, and all that the amounts follow from."""

from dataclasses import asdict

from cloud.billing.agreements.due import AgreedPiece
from cloud.billing.charges.drafts import RatedPiece
from cloud.billing.charges.limits import limit_inputs
from cloud.billing.charges.period_registers import reading_inputs, register_inputs
from cloud.billing.concessions.applying import concession_inputs, discount_line

Drafted = RatedPiece | AgreedPiece


def charge_inputs(one: Drafted) -> dict[str, object]:
    """All that the amount of a charge follows from, for JSON."""
    inputs: dict[str, object] = {"agreement": one.agreement.id, "period": str(one.period)}
    inputs |= _agreed_inputs(one) if isinstance(one, AgreedPiece) else _rated_inputs(one)
    if one.concessions:
        inputs["concessions"] = [concession_inputs(there) for there in one.concessions]
    if one.contained_taxes:
        inputs["contained_taxes"] = [asdict(tax) for tax in one.contained_taxes]
    return inputs


def _agreed_inputs(one: AgreedPiece) -> dict[str, object]:
    inputs: dict[str, object] = {
        "agreed": [one.agreement.valid_from, one.agreement.valid_until],
        "taxes": [asdict(step) for step in one.taxes],
    }
    return inputs | ({"amount": one.agreement.amount} if one.rent is None else {"rent": asdict(one.rent)})


def _rated_inputs(one: RatedPiece) -> dict[str, object]:
    piece, metered = one.piece, one.metered
    inputs: dict[str, object] = {
        "tariff_version": piece.version.id,
        "tariff_hash": piece.version.hash,
        "tier_window": str(piece.window),
        "agreed": [piece.agreement.valid_from, piece.agreement.valid_until],
        "persons": one.persons,
        "window_parts": asdict(one.parts),
        "basis": asdict(one.basis),
        "single": piece.agreement.single,
        "carry": one.carry,
    }
    if metered is not None:
        inputs |= {
            "meter": metered.meter.id,
            "channel": metered.meter.main_channel.number,
            "multiplier": metered.meter.multiplier,
            "quantity": metered.quantity,
            "used_before": metered.before,
        }
        ends = {"opening": metered.opening, "closing": metered.closing}
        inputs |= {end: reading_inputs(found) for end, found in ends.items() if found is not None}
        if metered.estimate is not None:
            inputs["estimate"] = metered.estimate.inputs()
        if metered.runs:
            inputs["runs"] = [[code, quantity] for code, quantity in metered.runs]
        if metered.registers is not None:
            inputs |= register_inputs(metered.registers)
    if piece.season is not None:
        inputs["season"] = piece.season
    if piece.limits is not None and len(piece.limits.pieces) > 1:
        inputs["bill_limits"] = limit_inputs(piece.limits, one.so_far)
    if len(one.areas) > 1:
        inputs["areas"] = [asdict(step) for step in one.areas]
    return inputs


def charge_row(one: Drafted) -> dict[str, object]:
    """The row of the charge, without its bill."""
    row: dict[str, object] = {
        "agreement_id": one.agreement.id,
        "service": one.agreement.service,
        "period_start": one.period.start,
        "period_end": one.period.end,
        "amount": one.amount,
        "taxes": one.taxes_within,
    }
    if isinstance(one, AgreedPiece):
        return row | {"exact_amount": one.amount}
    metered = one.metered
    row |= {"tariff_version_id": one.piece.version.id, "exact_amount": one.exact_amount}
    if metered is not None:
        row |= {
            "meter_id": metered.meter.id,
            "channel": metered.meter.main_channel.number,
            "quantity": metered.quantity,
        }
        for end, found in (("opening", metered.opening), ("closing", metered.closing)):
            if found is not None:
                row |= {f"{end}_at": found.taken_at, f"{end}_value": found.value}
        if metered.estimate is not None:
            row |= {"estimate": metered.estimate.kind, "estimated_days": metered.estimate.days}
    return row


def line_rows(one: Drafted, currency: str) -> list[dict[str, object]]:
    """Its lines, then what concessions take off; lines of estimated usage say so."""
    named = one.agreement.kind in ("one_off", "package")
    note = {"description": one.agreement.description} if named else {}
    counted = one.metered if isinstance(one, RatedPiece) else None
    estimated = {} if counted is None or counted.estimate is None else {"estimated": counted.estimate.told()}
    lines: list[dict[str, object]] = [
        {
            "kind": line.kind,
            "component": line.component,
            "tier": line.tier,
            "time_period": line.time_period,
            "quantity": line.quantity,
            "unit": line.unit,
            "price": line.price,
            "amount": line.amount,
            "season": line.season,
            "detail": (note if line.kind == "fixed" else {}) | (estimated if line.kind == "usage" else {}),
        }
        for line in one.lines
    ]
    lines += [discount_line(taken, currency) for taken in one.reductions]
    return [{"service": one.agreement.service, **line} for line in lines]
