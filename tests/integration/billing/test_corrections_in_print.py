"""Corrected bills, credit and debit notes and final bills in print: named in both languages, and adding up by hand."""

import io
from datetime import date
from decimal import Decimal

import httpx
import pypdf
import pytest

from cloud.billing import service as billing
from cloud.billing.corrections.notes import Part
from cloud.billing.documents.model import BillDocument, Language
from cloud.billing.documents.service import bill_document
from cloud.billing.records import BillRow
from cloud.billing.service import Ending, RunOptions
from cloud.kit import i18n
from cloud.kit.db import SYSTEM, Database
from cloud.payments import service as payments
from cloud.payments.of_bill import payments_of_bill
from tests.integration.app import People
from tests.integration.billing.late import corrected_january
from tests.integration.billing.site import Flat, Site, noon
from tests.unit.cloud.billing.by_hand import add_up, add_up_document
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1)


@world
async def site_world(db: Database) -> Site:
    """Two flats; January is billed, and 100 kWh more of the first one become known afterwards."""
    return await corrected_january(db)


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _document(site: Site, bill: BillRow, language: Language) -> BillDocument:
    async with site.db.transaction(SYSTEM) as conn:
        return await bill_document(conn, bill.id, language, i18n.load_catalogues()[language], None)


async def _add_up(site: Site, bill: BillRow, client: httpx.AsyncClient, people: People) -> BillDocument:
    """What is printed and what the API explains, as a resident gets it; returns the English document."""
    auth = await people.resident(site.project.id, site.flats[0].person_id)
    answer = await client.get(f"/api/v1/bills/{bill.id}/explanation", headers=auth)
    assert answer.status_code == 200, answer.text
    add_up(answer.json())
    pdf = await client.get(f"/api/v1/bills/{bill.id}/document", params={"language": "en"}, headers=auth)
    document = await _document(site, bill, "en")
    text = "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf.content)).pages)
    assert document.title in text
    add_up_document(document)
    add_up_document(await _document(site, bill, "zh-CN"))
    return document


async def _bills(site: Site, flat: Flat) -> list[BillRow]:
    return await site.bills(account_id=flat.account_id)


async def test_a_bill_prints_what_it_corrects(site: Site, app_client: httpx.AsyncClient, people: People) -> None:
    await site.run(FEBRUARY)
    january, february = await _bills(site, site.flats[0])
    document = await _add_up(site, february, app_client, people)
    block = document.blocks[-1]
    assert block.title == f"Electricity, correction of bill {january.number}"
    assert (block.period, block.subtotal.amount) == ("Jan 2026", "¥48.83")
    assert block.lines == (("Usage · Tier 1", "100 kWh", "× 0.4883", "¥48.83"),)
    (note,) = block.notes
    assert note.endswith("line 1: 300.5 kWh = ¥146.73 until now, 400.5 kWh = ¥195.56 as it should be")


async def test_a_credit_note_prints_what_becomes_of_it(
    site: Site, app_client: httpx.AsyncClient, people: People
) -> None:
    flat = site.flats[0]
    (january,) = await _bills(site, flat)
    async with site.db.transaction(SYSTEM) as conn:
        parts = [Part(1, Decimal("46.73")), Part(2, Decimal("100.00"))]
        draft = await billing.note_of_bill(conn, january.id, "credit_note", parts, "lift out of order", by=1)
        wanted = await billing.preview_note(conn, flat.account_id, january.id, -draft.total, MARCH)
        note = await billing.approve_note(conn, draft.id, by=2, now=noon(MARCH))
        got = await billing.given(conn, await billing.get_bill(conn, note.id))
    assert wanted == got
    settled = await app_client.get(f"/api/v1/notes/{note.id}/settlement", headers=await people.staff("viewer"))
    assert settled.json() == {
        "issued": True,
        "parts": [{"bill_id": january.id, "number": january.number, "amount": {"amount": "146.73", "currency": "CNY"}}],
        "kept": {"amount": "0.00", "currency": "CNY"},
    }
    document = await _add_up(site, note, app_client, people)
    assert document.title == "Credit note"
    facts = {fact.name: fact.value for fact in document.facts}
    assert (facts["Number"], facts["Corrects bill"]) == (note.number, january.number)
    assert (facts["Reason"], facts["State"]) == ("lift out of order", "Credited")
    assert "Due on" not in facts
    assert [(one.name, one.amount) for one in document.sums[1:]] == [("Taken off bill 2026-000001", "¥146.73")]
    assert document.pay is None
    async with site.db.transaction(SYSTEM) as conn:
        (paid,) = await payments_of_bill(conn, january.id)
        assert await payments_of_bill(conn, note.id) == []
    assert (paid.method, paid.reference, paid.principal) == ("credit-note", note.number, Decimal("146.73"))


@pytest.mark.parametrize("second", ["50.00", "146.73"])
async def test_a_preview_is_what_comes_of_it(site: Site, second: str) -> None:
    """Of the bill that it is about, then of the oldest bills without what is disputed; the rest is kept."""
    flat = site.flats[0]
    await site.run(FEBRUARY)
    january, february = await _bills(site, flat)
    async with site.db.transaction(SYSTEM) as conn:
        await payments.record_payment(conn, flat.account_id, Decimal("250.00"), "cash", FEBRUARY)
        await billing.open_dispute(conn, february.id, "no", Decimal(300), by=None, by_resident=False, today=MARCH)
        parts = [Part(1, Decimal(second)), Part(2, Decimal("210.33"))]
        draft = await billing.note_of_bill(conn, january.id, "credit_note", parts, "goodwill", by=1)
        wanted = await billing.preview_note(conn, flat.account_id, january.id, -draft.total, MARCH)
        note = await billing.approve_note(conn, draft.id, by=2, now=noon(MARCH))
        assert await billing.given(conn, await billing.get_bill(conn, note.id)) == wanted
    assert [part.number for part in wanted.parts] == [january.number, february.number]
    assert sum((part.amount for part in wanted.parts), wanted.kept) == Decimal(second) + Decimal("210.33")
    assert wanted.kept > 0
    assert await site.proof() == []


async def test_a_debit_note_is_asked_for_like_a_bill(site: Site, app_client: httpx.AsyncClient, people: People) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        draft = await billing.note_of_adjustments(conn, site.flats[0].account_id, "late reading", by=1)
        note = await billing.approve_note(conn, draft.id, by=2, now=noon(FEBRUARY))
    document = await _add_up(site, note, app_client, people)
    assert document.title == "Debit note"
    assert document.pay is not None
    assert (document.sums[0].amount, [fact.name for fact in document.facts][-1]) == ("¥48.83", "Reason")


async def test_a_final_bill_has_its_title(site: Site, app_client: httpx.AsyncClient, people: People) -> None:
    flat = site.flats[0]
    async with site.db.transaction(SYSTEM) as conn:
        ending = Ending(flat.account_id, MARCH)
        job = await billing.start_final_bill(conn, ending, options=RunOptions(issue_at_once=True))
        run = await billing.run_of_job(conn, job)
    await billing.execute_run(site.db, SYSTEM, run.id, now=noon(MARCH))
    _, final = await _bills(site, flat)
    document = await _add_up(site, final, app_client, people)
    assert document.title == "Final bill"
    assert len(document.blocks) == 3
