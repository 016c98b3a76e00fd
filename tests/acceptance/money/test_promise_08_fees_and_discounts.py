"""Promise 8: "Area fee `89.50 m² × 2.35 = 210.33` exactly. Discounts (vacancy, long lease, subsidy) are separate
negative lines that name their rule, in a fixed order."
"""

from datetime import date
from decimal import Decimal
from typing import Any

import pytest

from cloud.kit.db import Database
from tests.acceptance.money.office import Document, Office
from tests.integration.billing.site import Site, make_site

JANUARY = date(2026, 1, 1)
JANUARY_DAYS = "2026-01-01/2026-02-01"
RULES: dict[str, dict[str, Any]] = {
    "vacancy": {"name": "Empty since New Year", "kind": "factor", "value": "0.70", "valid_until": "2027-01-01"},
    "long_lease": {"name": "Five years", "kind": "percent", "value": "10"},
    "subsidy": {"name": "Veterans", "kind": "amount", "value": "20"},
}
IN_ORDER = [
    # 30 % of 210.33 leaves 147.231, so 147.23; 10 % of that leaves 132.507, so 132.51.
    ("area", "property_fee", "210.33"),
    ("discount", "vacancy", "-63.10"),
    ("discount", "long_lease", "-14.72"),
    ("discount", "subsidy", "-20.00"),
]


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """One flat of 89.50 m² that pays 2.35 a square metre and month."""
    return await make_site(worker_db, flats=1, services=("property",))


async def _file(office: Office, chief: Office, agreement_id: int, rule: str) -> int:
    """A concession on paper, approved by somebody else."""
    filed = await office.post(
        "concessions",
        project_id=office.site.project.id,
        agreement_id=agreement_id,
        rule=rule,
        valid_from="2026-01-01",
        reason=f"form of {rule}",
        **RULES[rule],
    )
    await chief.post(f"concessions/{filed['id']}/approvals", reason="papers seen")
    return int(filed["id"])


async def _lines(office: Office) -> list[Document]:
    (bill,) = await office.bills()
    (charge,) = (await office.whole(bill))["charges"]
    lines: list[Document] = charge["lines"]
    assert charge["amount"] == bill["total"]
    return lines


async def _agreement(office: Office) -> int:
    (agreement,) = await office.items("service-agreements")
    return int(agreement["id"])


async def test_the_area_fee_is_210_33_exactly(office: Office) -> None:
    await office.bill(JANUARY)
    (line,) = await _lines(office)
    assert (line["quantity"], line["price"], line["amount"]) == (
        {"quantity": "89.5", "unit": "m2"},
        "2.35",
        {"amount": "210.33", "currency": "CNY"},
    )
    # 210.325 is half a cent above 210.32: half up, where the nearest float lies below it.
    assert Decimal("89.50") * Decimal("2.35") == Decimal("210.3250")


@pytest.mark.parametrize("filed", [tuple(RULES), tuple(reversed(RULES))], ids="-".join)
async def test_discounts_are_negative_lines_that_name_their_rule_in_a_fixed_order(
    office: Office, chief: Office, filed: tuple[str, ...]
) -> None:
    agreement_id = await _agreement(office)
    ids = {rule: await _file(office, chief, agreement_id, rule) for rule in filed}
    await office.bill(JANUARY)
    lines = await _lines(office)
    assert [(line["kind"], line["component"], line["amount"]["amount"]) for line in lines] == IN_ORDER
    for line in lines[1:]:
        rule = line["component"]
        assert Decimal(line["amount"]["amount"]) < 0
        assert (line["detail"]["rule"], line["detail"]["name"]) == (rule, RULES[rule]["name"])
        assert line["detail"]["concession"] == ids[rule]
    (bill,) = await office.bills()
    assert bill["total"]["amount"] == "112.51"
    html = (await office.document(bill, "html")).decode()
    places = [html.index(str(RULES[rule]["name"])) for rule in RULES]
    assert places == sorted(places), "people read them in the same order"


async def test_discounts_never_make_a_fee_negative(office: Office, chief: Office) -> None:
    agreement_id = await _agreement(office)
    await _file(office, chief, agreement_id, "vacancy")
    filed = await office.post(
        "concessions", project_id=office.site.project.id, agreement_id=agreement_id, rule="subsidy", name="Too much",
        kind="amount", value="1000", valid_from="2026-01-01", reason="decree",
    )  # fmt: skip
    await chief.post(f"concessions/{filed['id']}/approvals", reason="papers seen")
    await office.bill(JANUARY)
    assert [line["amount"]["amount"] for line in await _lines(office)] == ["210.33", "-63.10", "-147.23"]
    assert (await office.bills())[0]["total"]["amount"] == "0.00"


async def test_what_nobody_approved_is_not_taken_off(office: Office) -> None:
    await office.post(
        "concessions", project_id=office.site.project.id, agreement_id=await _agreement(office), rule="long_lease",
        valid_from="2026-01-01", reason="form", **RULES["long_lease"],
    )  # fmt: skip
    await office.bill(JANUARY)
    assert [line["kind"] for line in await _lines(office)] == ["area"]


async def test_a_vacancy_without_filed_dates_is_refused(office: Office) -> None:
    agreement_id = await _agreement(office)
    for dates in ({}, {"valid_from": "2026-01-01"}, {"valid_until": "2027-01-01"}):
        body = {key: value for key, value in RULES["vacancy"].items() if key != "valid_until"} | dates
        refusal = await office.refused(
            "concessions", project_id=office.site.project.id, agreement_id=agreement_id, rule="vacancy", reason="form",
            **body,
        )  # fmt: skip
        assert refusal == (422, "no-filed-dates"), dates
    await office.bill(JANUARY)
    assert [line["amount"]["amount"] for line in await _lines(office)] == ["210.33"]


async def test_a_vacancy_that_is_filed_late_is_given_on_the_next_bill(office: Office, chief: Office) -> None:
    """January is billed; the form of 1 January to 1 March comes in February, and the flat is let on 15 February.

    The bill of January stays as it is. That of February takes up 30 % of 210.33 for January, 63.10, and takes off
    14/28 of as much for February, 31.55. Once a bill took it off, it is not ended before.
    """
    agreement_id = await _agreement(office)
    await office.bill(JANUARY)
    (january,) = await office.bills()
    filed = await office.post(
        "concessions", project_id=office.site.project.id, agreement_id=agreement_id, rule="vacancy", reason="form 17",
        valid_from="2026-01-01", **RULES["vacancy"] | {"valid_until": "2026-03-01"},
    )  # fmt: skip
    assert await office.items("adjustments") == [], "nothing is given before somebody approves it"
    await chief.post(f"concessions/{filed['id']}/approvals", reason="papers seen")
    (job,) = await office.site.rows("SELECT id FROM job WHERE kind = 'billing.re-rate'")
    await office.work(job["id"])
    (adjustment,) = await office.items("adjustments")
    assert (adjustment["cause"], adjustment["difference"]["amount"]) == ("concession", "-63.10")
    await office.post(f"concessions/{filed['id']}/endings", day="2026-02-15")
    await office.bill(date(2026, 2, 1))
    first, second = await office.bills()
    assert first == january
    whole = await office.whole(second)
    (charge,), (correction,) = whole["charges"], whole["corrections"]
    assert [line["amount"]["amount"] for line in charge["lines"]] == ["210.33", "-31.55"]
    assert (correction["amount"]["amount"], correction["component"]) == ("-63.10", "vacancy")
    assert (correction["original_number"], correction["original_period"]) == (january["number"], JANUARY_DAYS)
    assert second["total"]["amount"] == "115.68"
    assert await office.refused(f"concessions/{filed['id']}/endings", day="2026-02-10") == (409, "charged-beyond")
