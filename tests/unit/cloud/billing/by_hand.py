"""Adds a bill up again from nothing but its explanation in JSON, or what is printed, as a person with a calculator."""

import re
from collections import defaultdict
from collections.abc import Iterable
from decimal import ROUND_CEILING, ROUND_HALF_UP, Decimal
from typing import Any

from cloud.billing.documents.model import BillDocument

Document = dict[str, Any]

_SHARES = ("power_factor", "surcharge", "tax", "discount")
_ALONE = ("rounding", "minimum", "cap")


def add_up(explanation: Document) -> None:
    """Works out every line, tier and sum of the bill. Raises AssertionError for the first that is not as shown."""
    bill, told = explanation["bill"], {one["charge_id"]: one for one in explanation["charges"]}
    for charge in bill["charges"]:
        lines = charge["lines"]
        for line in lines:
            _check_line(line)
        assert _sum(line["amount"]["amount"] for line in lines) == Decimal(charge["amount"]["amount"])
        _check_charge(lines, told[charge["id"]])
    _check_limits({charge["id"]: charge["lines"] for charge in bill["charges"]}, told)
    for line in bill["corrections"]:
        _check_correction(line)
    parts = (one["amount"]["amount"] for one in [*bill["charges"], *bill["corrections"]])
    assert _sum(parts) == Decimal(bill["total"]["amount"])


def add_up_document(document: BillDocument) -> None:
    """Works out the sums that are printed; what is taken off is printed with its sign."""
    for block in document.blocks:
        assert sum((_printed(amount) for *_, amount in block.lines), Decimal(0)) == _printed(block.subtotal.amount)
    total, *rest = document.sums
    assert sum((_printed(block.subtotal.amount) for block in document.blocks), Decimal(0)) == _printed(total.amount)
    if _printed(total.amount) < 0:
        # A credit note: what became of it.
        assert not rest or sum((_printed(one.amount) for one in rest), Decimal(0)) == -_printed(total.amount)
        return
    so_far = _printed(total.amount)
    for one in rest:
        if one.strong or one.name in ("Unpaid", "未缴"):
            assert _printed(one.amount) == so_far, one
        else:
            so_far += _printed(one.amount)


def _printed(amount: str) -> Decimal:
    """An amount as it is shown: -¥1,234.50."""
    digits = re.sub(r"[^0-9.]", "", amount)
    return -Decimal(digits) if amount.startswith(("-", "\u2212")) else Decimal(digits)


def _check_line(line: Document) -> None:
    """quantity × price, rounded half up, is the amount; a discount of some days, or of an amount, says which it is."""
    if line["kind"] == "discount" and line["price"] is None:
        return
    if line["kind"] in _ALONE:
        assert line["quantity"] is None
        assert line["price"] is None
        return
    assert _cents(Decimal(line["quantity"]["quantity"]) * Decimal(line["price"])) == Decimal(line["amount"]["amount"])


def _check_correction(line: Document) -> None:
    """What was and the difference are what is now; a line without them is a note that somebody made, with a reason."""
    was, now = (line["detail"].get(name) for name in ("was", "now"))
    if was is None:
        assert line["reason"]
        return
    assert Decimal(was["amount"]) + Decimal(line["amount"]["amount"]) == Decimal(now["amount"])
    if line["quantity"] is not None:
        more = Decimal(line["quantity"]["quantity"])
        assert Decimal(was["quantity"] or 0) + more == Decimal(now["quantity"] or 0)


def _check_charge(lines: list[Document], told: Document) -> None:
    usage = [line for line in lines if line["kind"] == "usage"]
    if told["metering"] is not None:
        _check_metering(told)
    if told["tiers"] is not None:
        _check_steps(told["tiers"])
        for component in {line["component"] for line in usage}:
            of_it = [line for line in usage if line["component"] == component]
            _check_tiers(of_it, told["tiers"], Decimal(told["factors"].get(component, "1")))
            _check_hours(of_it, told)
    _check_rounding(lines, told["rounding"])
    for tax in told["contained_taxes"]:
        share = Decimal(tax["share"])
        assert _cents(Decimal(tax["base"]["amount"]) * share / (1 + share)) == Decimal(tax["amount"]["amount"])


def _check_limits(lines: dict[int, list[Document]], told: dict[int, Document]) -> None:
    """What is charged to reach a minimum and taken off above a cap, also where charges of the bill share them."""
    alone = {n: _sum_of(mine, but=("minimum", "cap", "tax", "discount")) for n, mine in lines.items()}
    lifted = {n: alone[n] + _sum_of(mine, only="minimum") for n, mine in lines.items()}
    for n, one in told.items():
        for name, cost in (("minimum", alone), ("cap", lifted)):
            limit = one[name]
            if limit is None or limit["per"] != "bill":
                continue
            amount, before, last = Decimal(limit["amount"]["amount"]), Decimal(0), True
            if limit["shared"] is not None:
                amount, before, last = _check_shared(n, limit["shared"], cost)
            above = min(amount - before - cost[n], Decimal(0)) - min(amount - before, Decimal(0))
            missing = max(amount - before - cost[n], Decimal(0)) if last else Decimal(0)
            assert _sum_of(lines[n], only=name) == (missing if name == "minimum" else above)


def _check_shared(n: int, shared: Document, cost: dict[int, Decimal]) -> tuple[Decimal, Decimal, bool]:
    """Amount, what earlier charges cost, and whether it is completed here."""
    amount, before = (Decimal(shared[name]["amount"]) for name in ("amount", "before"))
    days = sum((Decimal(term["amount"]["amount"]) * term["days"] for term in shared["terms"]), Decimal(0))
    assert _cents(days / shared["days"]) == amount
    place = shared["charges"].index(n)
    assert sum((cost[one] for one in shared["charges"][:place]), Decimal(0)) == before
    assert shared["last"] == (n == shared["charges"][-1])
    return amount, before, shared["last"]


def _sum_of(lines: list[Document], *, only: str | None = None, but: tuple[str, ...] = ()) -> Decimal:
    kinds = (line for line in lines if line["kind"] not in but and only in (None, line["kind"]))
    return _sum(line["amount"]["amount"] for line in kinds)


def _check_metering(told: Document) -> None:
    one = {name: Decimal(told["metering"][name]) for name in ("opening", "closing", "multiplier", "quantity")}
    if told["metering"]["plain"]:
        assert (one["closing"] - one["opening"]) * one["multiplier"] == one["quantity"]
    assert one["quantity"] + Decimal(told["metering"]["beside"]) == Decimal(told["tiers"]["used_here"])
    if told["by_register"] is not None:
        _check_registers(told["by_register"], told)


def _check_registers(by_register: Document, told: Document) -> None:
    """Each period is what its registers say, the remainder of the total added in one of them."""
    used = {"total": Decimal(told["metering"]["quantity"])}
    for register in by_register["registers"]:
        one = {name: Decimal(register[name]) for name in ("opening", "closing", "multiplier", "quantity")}
        if register["plain"]:
            assert (one["closing"] - one["opening"]) * one["multiplier"] == one["quantity"]
        used[register["name"]] = one["quantity"]
    assert sum((used[name] for name in by_register["beside_total"]), Decimal(0)) == Decimal(told["metering"]["beside"])
    for period in told["hours"]:
        wanted = Decimal(0)
        for term in by_register["terms"][period["time_period"]]:
            wanted += -used[term[1:]] if term.startswith("-") else used[term]
        if period["time_period"] == by_register["remainder_in"]:
            wanted += Decimal(by_register["remainder"])
        assert Decimal(period["quantity"]) == wanted
    assert _sum(period["quantity"] for period in told["hours"]) == Decimal(told["tiers"]["used_here"])


def _check_steps(tiers: Document) -> None:
    """The steps follow from the bounds and from what was used before."""
    before, here = Decimal(tiers["used_before"]), Decimal(tiers["used_here"])
    assert before + here == Decimal(tiers["used_after"])
    steps = tiers["steps"]
    if not steps:
        return
    assert steps[0]["above"] == "0"
    assert steps[-1]["upper"] is None
    assert [step["upper"] for step in steps[:-1]] == [step["above"] for step in steps[1:]]
    for step in steps:
        above, upper = Decimal(step["above"]), Decimal(step["upper"] or "Infinity")
        if tiers["mode"] == "volume":
            # The first tier has also the usage of nothing at all.
            reached = (above < here <= upper) or (here == 0 and above == 0)
            assert Decimal(step["used_here"]) == (here if reached else 0)
            continue
        then, now = (max(min(position, upper) - above, Decimal(0)) for position in (before, before + here))
        assert Decimal(step["used_before"]) == then
        assert Decimal(step["used_here"]) == now - then
    assert _sum(step["used_here"] for step in steps) == here


def _check_tiers(lines: list[Document], tiers: Document, factor: Decimal) -> None:
    """The lines of a component charge what lies in each tier."""
    charged: dict[int | None, Decimal] = defaultdict(Decimal)
    for line in lines:
        charged[line["tier"]] += Decimal(line["quantity"]["quantity"])
    if not tiers["steps"]:
        assert charged[None] == Decimal(tiers["used_here"]) * factor
        return
    for step in tiers["steps"]:
        wanted = Decimal(step["used_here"]) * factor
        if tiers["mode"] == "package":
            size, before = Decimal(tiers["package"]), Decimal(step["used_before"])
            wanted = _begun((before + Decimal(step["used_here"])) / size) - _begun(before / size)
        assert charged[step["number"]] == wanted


def _check_hours(lines: list[Document], told: Document) -> None:
    for used in told["hours"]:
        in_period = [line for line in lines if line["time_period"] == used["time_period"]]
        factor = Decimal(told["factors"].get(lines[0]["component"], "1"))
        assert _sum(line["quantity"]["quantity"] for line in in_period) == Decimal(used["quantity"]) * factor


def _check_rounding(lines: list[Document], rounding: Document) -> None:
    """What the line "rounding" says is what is missing between rounded lines and the rounded whole."""
    direct = [line for line in lines if line["kind"] not in (*_ALONE, *_SHARES)]
    exact: dict[str, Decimal] = defaultdict(Decimal)
    for line in direct:
        exact[line["component"]] += Decimal(line["quantity"]["quantity"]) * Decimal(line["price"])
    carry = Decimal(rounding["carry"])
    rounded = _sum(line["amount"]["amount"] for line in direct)
    whole = {
        "line": rounded,
        "component": sum((_cents(one) for one in exact.values()), Decimal(0)),
        "bill": _cents(sum(exact.values(), Decimal(0))),
    }[rounding["level"]]
    if rounding["cumulative"]:
        whole = _cents(carry + sum(exact.values(), Decimal(0))) - _cents(carry)
    assert _sum(line["amount"]["amount"] for line in lines if line["kind"] == "rounding") == whole - rounded


def _sum(numbers: Iterable[str]) -> Decimal:
    return sum(map(Decimal, numbers), Decimal(0))


def _cents(amount: Decimal) -> Decimal:
    return amount.quantize(Decimal("0.01"), ROUND_HALF_UP)


def _begun(packages: Decimal) -> Decimal:
    return packages.to_integral_value(ROUND_CEILING)
