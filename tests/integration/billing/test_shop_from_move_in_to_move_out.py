"""A shop moves in and out in mid-month: rent, property fee, water and electricity on one bill, added up by hand."""

from datetime import date
from decimal import Decimal

from cloud.billing import service as billing
from cloud.billing.documents.service import bill_document
from cloud.billing.explanation.sentences import line_title
from cloud.billing.vouchers.exports import month_vouchers
from cloud.kit import i18n
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import Period
from tests.integration.billing.shop import VAT, Shop, lines, make_shop, named

ENGLISH = i18n.load_catalogues()["en"]
JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)
MOVED_IN, MOVED_OUT = date(2026, 1, 16), date(2026, 3, 11)


async def booked(shop: Shop, bill_id: int) -> dict[str, str]:
    rows = await shop.site.rows(
        """SELECT p.ledger_account, sum(p.amount) AS amount FROM posting p JOIN journal j ON j.id = p.journal_id
           WHERE j.source = 'bill' AND j.source_id = %s AND j.kind IN ('bill', 'credit_note') GROUP BY 1 ORDER BY 1""",
        bill_id,
    )
    return {row["ledger_account"]: str(row["amount"]) for row in rows}


async def test_a_shop_from_moving_in_to_moving_out(worker_db: Database) -> None:
    shop = await make_shop(worker_db, MOVED_IN)
    await shop.rent(taxes=VAT)
    days = [MOVED_IN, FEBRUARY, MARCH, MOVED_OUT]
    for medium, usage in (("electricity", [50_000, 100_000, 40_000]), ("water", [3_000_000, 5_000_000, 2_000_000])):
        await shop.read(medium, list(zip(days[:-1], days[1:], usage, strict=True)))  # type: ignore[arg-type]
    await shop.site.run(JANUARY)
    await shop.site.run(FEBRUARY)
    await shop.final_bill(MOVED_OUT)
    january, february, final = await shop.bills()

    # 16 of 31 days of January: 8000 x 0.516129 = 4129.03, and February in advance; 9 % VAT on each.
    assert lines(january, "rent") == [
        ("fixed", "rent", "4129.03"),
        ("tax", "vat", "371.61"),
        ("fixed", "rent", "8000.00"),
        ("tax", "vat", "720.00"),
    ]
    # 89.50 m² x 3.50 x 0.516129 = 161.68, 6 % of it 9.70.
    assert lines(january, "property") == [("area", "property_fee", "161.68"), ("tax", "vat", "9.70")]
    # 50 kWh x 0.85 = 42.50, 13 % of it 5.525; 3 m³ x 4.35 = 13.05, which contain 3 %: 0.38.
    assert lines(january, "electricity") == [("usage", "energy", "42.50"), ("tax", "vat", "5.53")]
    assert lines(january, "water") == [("usage", "water", "13.05")]
    assert january.summary.total == Decimal("13453.10")
    assert await booked(shop, january.summary.id) == {
        "receivable": "13453.10",
        "revenue:electricity": "-42.50",
        "revenue:property": "-161.68",
        "revenue:rent": "-12129.03",
        "revenue:water": "-12.67",
        "tax:vat": "-1107.22",
    }

    # 8720.00 + 313.25 x 1.06 + 85 x 1.13 + 21.75
    assert february.summary.total == Decimal("9169.85")

    # March was paid in advance: 10 of its 31 days are 2580.65, and 9 % of them 232.26.
    assert final.summary.kind == "credit_note"
    assert lines(final, "property") == [("area", "property_fee", "101.05"), ("tax", "vat", "6.06")]
    assert lines(final, "electricity") == [("usage", "energy", "34.00"), ("tax", "vat", "4.42")]
    assert lines(final, "water") == [("usage", "water", "8.70")]
    assert lines(final, "rent") == [("adjustment", "rent", "-5419.35"), ("adjustment", "vat", "-487.74")]
    assert final.summary.total == Decimal("-5752.86") == sum(line.amount for line in final.lines)
    paid_rent = next(line for line in february.lines if line.component == "rent")
    assert named(final.corrections[0]) == (february.summary.number, paid_rent.position, "2026-03-01/2026-04-01")
    assert final.corrections[0].quantity == Decimal("-0.677419")
    assert await booked(shop, final.summary.id) == {
        "receivable": "-5752.86",
        "revenue:electricity": "-34.00",
        "revenue:property": "-101.05",
        "revenue:rent": "5419.35",
        "revenue:water": "-8.45",
        "tax:vat": "477.01",
    }

    # In the time lived: 0.516129 + 1 + 0.322581 months.
    paid = [line.amount for bill in (january, february, final) for line in bill.lines if line.component == "rent"]
    assert sum(paid) == Decimal("14709.68")
    assert await shop.site.proof() == []

    async with shop.site.db.transaction(SYSTEM) as conn:
        issued = await month_vouchers(conn, shop.site.project.id, Period(FEBRUARY, MARCH), "day")
        said = await bill_document(conn, january.summary.id, "en", ENGLISH, None)
    credited = {line.ledger_account: (line.account.code, str(line.credit)) for line in issued[0].lines}
    assert credited["tax:vat"] == ("2221", "1107.22")
    assert credited["revenue:rent"] == ("6001", "12129.03")
    assert [block.title for block in said.blocks] == ["Electricity", "Water", "Property fee", "Rent", "Rent"]
    assert [row[0] for row in said.blocks[3].lines] == ["Rent", "VAT"]
    assert said.blocks[3].subtotal.amount.endswith("4,500.64")
    assert any("8,000.00" in note for note in said.blocks[3].notes)
    assert len(billing.explain_agreed(january)) == 2
    assert {line_title(line) for line in final.corrections} == {"Rent", "VAT"}
