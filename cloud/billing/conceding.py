"""The concessions of many charges, read at once, and what they take off each."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from decimal import Decimal

from cloud.billing import concession_repository
from cloud.billing.concession_repository import ConcessionRow
from cloud.billing.concessions import Concession, Reduction, reductions
from cloud.billing.records import Agreement
from cloud.kit.amounts import plain
from cloud.kit.db import Conn
from cloud.kit.periods import Period
from cloud.tariffs.explain import Line


class Concessions:
    """Approved concessions by what they are for."""

    def __init__(self, rows: Iterable[ConcessionRow] = ()) -> None:
        self._accounts: dict[int, list[Concession]] = defaultdict(list)
        self._agreements: dict[int, list[Concession]] = defaultdict(list)
        self._units: dict[int, list[Concession]] = defaultdict(list)
        for row in rows:
            for key, kept in (
                (row.account_id, self._accounts),
                (row.agreement_id, self._agreements),
                (row.unit_id, self._units),
            ):
                if key is not None:
                    kept[key].append(row.terms)

    def of(self, agreement: Agreement, unit_id: int | None) -> list[Concession]:
        """Those for an agreement, its account or its unit."""
        found = [*self._agreements.get(agreement.id, ()), *self._accounts.get(agreement.account_id, ())]
        return found if unit_id is None else [*found, *self._units.get(unit_id, ())]

    def taken_off(
        self, agreement: Agreement, unit_id: int | None, period: Period, lines: Sequence[Line], digits: int
    ) -> tuple[Reduction, ...]:
        """What they take off a charge with these lines."""
        found = self.of(agreement, unit_id)
        if not found:
            return ()
        parts = [(line.component, line.amount) for line in lines]
        return reductions(parts, agreement.service, period, found, digits)


async def load(conn: Conn, agreements: Iterable[Agreement], unit_ids: Iterable[int], span: Period) -> Concessions:
    """Everything that may apply to charges of these agreements in `span`, in one query."""
    everything = list(agreements)
    account_ids = sorted({one.account_id for one in everything})
    agreement_ids = sorted({one.id for one in everything})
    rows = await concession_repository.applying(conn, account_ids, agreement_ids, sorted(set(unit_ids)), span)
    return Concessions(rows)


def off(found: Sequence[Reduction]) -> Decimal:
    """The sum of reductions: 0 or negative."""
    return sum((one.amount for one in found), Decimal(0))


def discount_line(one: Reduction, currency: str) -> dict[str, object]:
    """The line of a bill: what remained × −share = amount, where it holds for the whole period."""
    whole = one.days == one.of_days and one.share is not None
    terms = one.concession
    return {
        "kind": "discount",
        "component": terms.rule,
        "quantity": one.base if whole else None,
        "unit": currency if whole else None,
        "price": -one.share if whole and one.share is not None else None,
        "amount": one.amount,
        "detail": {
            "concession": terms.id,
            "rule": terms.rule,
            "name": terms.name,
            "kind": terms.kind,
            "value": plain(terms.value),
            "base": format(one.base, "f"),
            "days": one.days,
            "of_days": one.of_days,
        },
    }


def concession_inputs(one: Reduction) -> dict[str, object]:
    """What a bill keeps of a concession that it follows from."""
    terms = one.concession
    return {
        "concession": terms.id,
        "rule": terms.rule,
        "name": terms.name,
        "kind": terms.kind,
        "value": plain(terms.value),
        "valid": str(terms.valid),
        "position": terms.position,
        "services": list(terms.services),
        "components": list(terms.components),
    }
