"""Re-rating of rents, packages and one-off charges: agreed otherwise, ended earlier or taken back after a bill.

A charge stays as it is; what it should have been by the terms of now is a revision (`adjustment`) that names original
bill, line and period. Amounts of a rent are cumulative, so charge and revisions together are exactly what was agreed
for the days that the agreement lasted.
"""

from collections.abc import Sequence
from datetime import date

from cloud.billing.agreements.due import AgreedPiece, load_terms
from cloud.billing.charges.rows import charge_inputs, line_rows
from cloud.billing.concessions.applying import concession_kept
from cloud.billing.concessions.reductions import applies
from cloud.billing.corrections import repository as adjustments_repository
from cloud.billing.corrections.adjustments import Cause, ChargeState, differences, differs
from cloud.billing.corrections.rerating import revision
from cloud.billing.corrections.revising import keep_revisions
from cloud.estate import service as estate
from cloud.estate.records import Project
from cloud.kit.db import Conn, as_json
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.periods import Period


async def rerate_agreement(conn: Conn, project_id: int, agreement_id: int, since: date) -> int:
    """Rates the charges of an agreement over days from `since` on again by its terms of now; how many then differ.

    Whoever asks holds `drafting.lock_charges` since before he read the terms.
    Raises Conflict while a draft charges it; InvalidInput for days without terms.
    """
    states = await adjustments_repository.agreed_states(conn, since, agreement_id=agreement_id)
    if any(not one.issued for one in states):
        raise Conflict("draft-waits", "a draft charges it: issue or cancel that run first")
    return await rerate_agreed(conn, await estate.get_project(conn, project_id), states, "terms")


async def rerate_agreed(conn: Conn, project: Project, states: Sequence[ChargeState], cause: Cause) -> int:
    """Rates issued charges again and keeps what differs; how many did.

    `cause`: `concession` goes by the concessions granted now, any other by those that the bill knew; amounts, areas,
    taxes and ends are always those of now. Raises InvalidInput for days without
    terms, psycopg UniqueViolation where another re-rating was faster.
    """
    issued = [one for one in states if one.issued]
    if not issued:
        return 0
    span = Period(min(one.period.start for one in issued), max(one.period.end for one in issued))
    terms = await load_terms(conn, project, [one.agreement for one in issued], span)
    rows: list[dict[str, object]] = []
    for state in issued:
        there = terms.conceded(state.agreement, state.period)
        if cause != "concession":
            kept = (concession_kept(one) for one in state.inputs.get("concessions", ()))
            there = tuple(one for one in kept if applies(one, state.agreement.service, state.period))
        try:
            piece = terms.piece(state.agreement, state.period, there)
        except ValueError as error:
            raise InvalidInput("missing-rent", f"{state.agreement.service}: {error}") from error
        rows += _revision(state, piece, cause, project.currency)
    await keep_revisions(conn, project, issued, rows)
    return sum(bool(row["differences"]) for row in rows)


def _revision(state: ChargeState, piece: AgreedPiece, cause: Cause, currency: str) -> list[dict[str, object]]:
    lines = as_json(line_rows(piece, currency))
    found = differences(state.lines, lines)
    # A contained tax may change and no line with it: nothing to pay, but another part of it is tax. By the same terms
    # it stays what was booked, however bills worked it out then.
    inputs = as_json(charge_inputs(piece))
    # A concession with nothing to take off now bears on what is agreed later.
    granted = cause == "concession" and state.inputs.get("concessions") != inputs.get("concessions")
    same = as_json(piece.taxes_within) == as_json(state.taxes) or not differs(state.inputs, inputs)
    if not found and not granted and same:
        return []
    return [
        revision(state, cause)
        | {
            "amount": piece.amount,
            "exact_amount": piece.amount,
            "inputs": inputs,
            "lines": lines,
            "differences": [one.row(state) for one in found],
            "taxes": piece.taxes_within,
        }
    ]
