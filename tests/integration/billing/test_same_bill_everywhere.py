"""One bill, the same content wherever it is read: page, HTML, PDF and e-mail, in Chinese and in English."""

import io
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import httpx
import pypdf
import pytest

from cloud.billing.concessions.service import NewConcession
from cloud.billing.enclosures import enclose_bill
from cloud.billing.mailing import service as mailing
from cloud.billing.records import Bill, BillLine, BillRow
from cloud.billing.service import TaxStep, change_tax
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import People
from tests.integration.billing.shop import Shop, make_shop
from tests.integration.billing.site import noon
from tests.integration.browser import Browser, text_of

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
DUE: Mapping[str, str] = {"en": "Feb 16, 2026", "zh-CN": "2026年2月16日"}
TOTAL: Mapping[str, str] = {"en": "Total", "zh-CN": "合计"}
AID = NewConcession("subsidy", "New in the street", "percent", Decimal("12.5"), JANUARY, None, "council")


@pytest.fixture
async def shop(worker_db: Database) -> Shop:
    """A shop whose bill has energy, water, area, rent, a discount, taxes on top and taxes that prices contain."""
    made = await make_shop(worker_db, JANUARY)
    await made.read("electricity", [(JANUARY, FEBRUARY, 12_345_678)])
    await made.read("water", [(JANUARY, FEBRUARY, 87_654_321)])
    rent = await made.rent("8000", in_advance=False)
    async with worker_db.transaction(SYSTEM) as conn:
        await change_tax(conn, rent, TaxStep(JANUARY, Decimal(9), inclusive=True))
    await made.concede(replace(AID, account_id=made.account_id))
    await made.site.run(JANUARY, noon(FEBRUARY))
    return made


def _plain(number: Decimal) -> str:
    """1234.50 as 1,234.5: written here once more, as a person would."""
    whole, _, part = format(number, "f").partition(".")
    return f"{int(whole):,}" + ("." + part.rstrip("0") if part.rstrip("0") else "")


def _money(amount: Decimal) -> str:
    return f"{'-' if amount < 0 else ''}¥{abs(amount):,.2f}"


def _cells(line: BillLine) -> Iterator[str]:
    """Quantity, price and amount of a line."""
    if line.quantity is not None:
        yield _plain(line.quantity) if line.quantity >= 0 else "-" + _plain(-line.quantity)
    if line.price is not None:
        share = line.kind in ("power_factor", "surcharge", "tax", "discount")
        price = line.price * 100 if share else line.price
        yield "×" + ("-" if price < 0 else "") + _plain(abs(price)) + ("%" if share else "")
    yield _money(line.amount)


def squeezed(text: str) -> str:
    """Without blanks, and with one sign for minus and comma: what type-setting may change."""
    return re.sub(r"[\s\u200b]", "", text).replace("−", "-").replace("，", ",")


@dataclass(frozen=True, slots=True)
class Reading:
    """What somebody reads, and where."""

    where: str
    language: str
    text: str

    def says(self, bill: Bill) -> None:
        """Every line with quantity, price and amount in their order, then the total; the due date, and each tax."""
        text, place = squeezed(self.text), 0
        for line in bill.lines:
            for cell in _cells(line):
                found = text.find(squeezed(cell), place)
                assert found >= 0, (self.where, self.language, line.component, cell, text[place : place + 300])
                place = found + len(cell)
        total = squeezed(TOTAL[self.language]) + squeezed(_money(bill.summary.total))
        assert text.find(total, place) >= 0, (self.where, self.language, total)
        assert squeezed(DUE[self.language]) in text, (self.where, self.language)
        for tax in _contained(bill):
            assert squeezed(_money(tax)) in text, (self.where, self.language, "contained tax", tax)


def _contained(bill: Bill) -> list[Decimal]:
    """Taxes that prices contain, worked out anew: 3 % in the water, 9 % in the rent, of what the discount leaves."""
    return [
        (charge.amount * percent / (100 + percent)).quantize(Decimal("0.01"), "ROUND_HALF_UP")
        for service, percent in (("water", 3), ("rent", 9))
        for charge in bill.charges
        if charge.service == service
    ]


def _pdf(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)


async def _mailed(shop: Shop, bill: BillRow, language: str) -> Iterator[Reading]:
    """The e-mail of the bill and the file that it carries."""
    async with shop.site.db.transaction(SYSTEM) as conn:
        notice = await mailing.mail_bill(conn, bill)
    enclosure = await enclose_bill(shop.site.db, SYSTEM, replace(notice, language=language), "https://pay.example.com")
    assert enclosure.html is not None
    (attached,) = enclosure.attachments
    return iter(
        (
            Reading("e-mail", language, text_of(enclosure.html)),
            Reading("file of the e-mail", language, _pdf(attached.content)),
        )
    )


@pytest.mark.parametrize("language", list(DUE))
async def test_page_html_pdf_and_mail_say_the_same(
    shop: Shop, app_client: httpx.AsyncClient, people: People, language: str
) -> None:
    (bill,) = await shop.bills()
    assert {line.kind for line in bill.lines} >= {"usage", "area", "fixed", "discount", "tax"}
    assert sum((line.amount for line in bill.lines), Decimal(0)) == bill.summary.total
    assert bill.summary.due_on == date(2026, 2, 16)
    auth = await people.staff("manager", shop.site.project.id)
    readings = list(await _mailed(shop, bill.summary, language))
    for form in ("html", "pdf"):
        query = {"format": form, "language": language}
        answer = await app_client.get(f"/api/v1/bills/{bill.summary.id}/document", params=query, headers=auth)
        assert answer.status_code == 200, answer.text
        readings.append(Reading(form, language, text_of(answer.text) if form == "html" else _pdf(answer.content)))
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
        await conn.execute("UPDATE app_user SET locale = %s", (language,))
    page = await Browser(app_client, auth).see(f"/bills/{bill.summary.id}")
    readings.append(Reading("page", language, text_of(page)))
    for one in readings:
        one.says(bill)
