"""The concessions of many charges, read at once, and what they take off each."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from cloud.billing.concessions import repository as concession_repository
from cloud.billing.concessions.reductions import PACKAGE, Concession, Reduction, applies, reductions
from cloud.billing.concessions.repository import ConcessionRow
from cloud.billing.records import Agreement
from cloud.kit.amounts import plain
from cloud.kit.db import Conn
from cloud.kit.periods import Period
from cloud.tariffs.rating.explain import Line


class Concessions:
    """Approved concessions, and packages, by what they are for."""

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

    def add_packages(self, packages: Iterable[tuple[int, Concession]]) -> None:
        """Packages with the accounts that bought them."""
        for account_id, package in packages:
            self._accounts[account_id].append(package)

    def of(self, agreement: Agreement, unit_id: int | None, period: Period) -> tuple[Concession, ...]:
        """Those for an agreement, its account or its unit that may apply to its charge of `period`, in their order."""
        found = [*self._agreements.get(agreement.id, ()), *self._accounts.get(agreement.account_id, ())]
        if unit_id is not None:
            found += self._units.get(unit_id, ())
        mine = (one for one in found if applies(one, agreement.service, period))
        return tuple(sorted(mine, key=lambda one: (one.position, one.id)))


def taken_off(
    concessions: Sequence[Concession], service: str, period: Period, lines: Sequence[Line], digits: int
) -> tuple[Reduction, ...]:
    """What concessions take off a charge with these lines."""
    if not concessions:
        return ()
    return reductions([(line.component, line.amount) for line in lines], service, period, concessions, digits)


async def load(conn: Conn, agreements: Iterable[Agreement], unit_ids: Iterable[int], span: Period) -> Concessions:
    """Everything that may apply to charges of these agreements in `span`, in one query."""
    everything = list(agreements)
    account_ids = sorted({one.account_id for one in everything})
    agreement_ids = sorted({one.id for one in everything})
    found = Concessions(
        await concession_repository.applying(conn, account_ids, agreement_ids, sorted(set(unit_ids)), span)
    )
    found.add_packages(await concession_repository.packages(conn, account_ids, span))
    return found


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
            (PACKAGE if terms.rule == PACKAGE else "concession"): terms.id,
            "rule": terms.rule,
            "name": terms.name,
            "kind": terms.kind,
            "value": plain(terms.value),
            "base": format(one.base, "f"),
            "days": one.days,
            "of_days": one.of_days,
        },
    }


def concession_inputs(terms: Concession) -> dict[str, object]:
    """What a bill keeps of a concession that was there when it was made."""
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


def concession_kept(inputs: Mapping[str, Any]) -> Concession:
    """The concession that `concession_inputs` kept."""
    start, _, end = str(inputs["valid"]).partition("/")
    return Concession(
        id=inputs["concession"],
        rule=inputs["rule"],
        name=inputs["name"],
        kind=inputs["kind"],
        value=Decimal(inputs["value"]),
        valid=Period(date.fromisoformat(start), date.fromisoformat(end)),
        position=inputs["position"],
        services=tuple(inputs["services"]),
        components=tuple(inputs["components"]),
    )
