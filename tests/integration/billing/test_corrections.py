"""Adjustments on the next bill, credit and debit notes: numbered, immutable, in the ledger, and what they give."""

from datetime import date
from decimal import Decimal
from typing import Any

import httpx
import psycopg
import pytest

from cloud.billing import service as billing
from cloud.billing.corrections import notes
from cloud.billing.corrections.notes import Part
from cloud.billing.records import BillRow
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.periods import Period
from cloud.payments import service as payments
from tests.integration.app import People, once
from tests.integration.billing.late import count_otherwise, late
from tests.integration.billing.site import Flat, Site, make_site, noon
from tests.worlds import World, world

JANUARY, FEBRUARY, MARCH, APRIL = date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1)
ASKER, APPROVER = 1, 2


@world
async def site_world(db: Database) -> Site:
    """Two flats that pay for electricity; January is billed."""
    made = await make_site(db, services=("electricity",))
    for flat in made.flats:
        await made.read(flat, "electricity", [300_500, 250_000, 100_000])
    await made.run(JANUARY)
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _bills(site: Site, flat: Flat) -> list[BillRow]:
    return await site.bills(account_id=flat.account_id)


async def _balance(site: Site, flat: Flat) -> Decimal:
    async with site.db.transaction(SYSTEM) as conn:
        return await billing.prepaid_balance(conn, flat.account_id)


async def _credit(site: Site, bill: BillRow, amount: str, reason: str = "goodwill") -> BillRow:
    async with site.db.transaction(SYSTEM) as conn:
        draft = await notes.note_of_bill(conn, bill.id, "credit_note", [Part(1, Decimal(amount))], reason, by=ASKER)
        return await notes.approve_note(conn, draft.id, by=APPROVER, now=noon(MARCH))


async def test_the_next_bill_takes_an_adjustment_up_and_names_the_original(site: Site) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, JANUARY, 100_000)
    await late(site)
    assert (await site.run(FEBRUARY)).billed == 2
    january, february = await _bills(site, flat)
    assert february.total == Decimal("122.08") + Decimal("48.83")
    async with site.db.transaction(SYSTEM) as conn:
        bill = await billing.get_bill(conn, february.id)
    (line,) = bill.corrections
    assert (line.kind, line.amount, line.quantity, line.price) == (
        "adjustment",
        Decimal("48.83"),
        Decimal(100),
        Decimal("0.4883"),
    )
    assert line.detail["bill"] == january.number
    assert (line.detail["line"], line.detail["period"]) == (1, "2026-01-01/2026-02-01")
    assert Decimal(line.detail["was"]["amount"]) + line.amount == Decimal(line.detail["now"]["amount"])
    assert sum(one.amount for one in bill.lines) == february.total
    assert [one["charge"] for one in bill.inputs["adjustments"]] == [line.charge_id]
    assert await site.proof() == []
    await late(site)
    await site.run(FEBRUARY)
    assert len(await _bills(site, flat)) == 2


async def test_a_cancelled_preview_leaves_adjustments_open(site: Site) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, JANUARY, 100_000)
    await late(site)
    async with site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, site.project.id, Period(FEBRUARY, MARCH))
        run = await billing.run_of_job(conn, job_id)
    await billing.execute_run(site.db, SYSTEM, run.id, now=noon(MARCH))
    assert len(await site.rows("SELECT FROM billed_adjustment")) == 1
    async with site.db.transaction(SYSTEM) as conn:
        await billing.cancel_run(conn, run.id)
    assert await site.rows("SELECT FROM billed_adjustment") == []
    await site.run(FEBRUARY)
    assert (await _bills(site, flat))[1].total == Decimal("170.91")


async def test_an_adjustment_is_billed_once_by_constraint(site: Site) -> None:
    await count_otherwise(site, site.flats[0], JANUARY, 100_000)
    await late(site)
    await site.run(FEBRUARY)
    (draft,) = await site.rows(
        """INSERT INTO bill (project_id, account_id, period, currency, total, engine_version, inputs)
           SELECT project_id, account_id, period, currency, 0, 'x', '{}' FROM bill LIMIT 1 RETURNING id"""
    )
    with pytest.raises(psycopg.errors.UniqueViolation):
        await site.rows(
            "INSERT INTO billed_adjustment SELECT adjustment_id, project_id, %s FROM billed_adjustment", draft["id"]
        )
    with pytest.raises(psycopg.IntegrityError, match="is issued"):
        await site.rows("DELETE FROM billed_adjustment RETURNING 1")


async def test_a_bill_below_zero_is_a_credit_note_that_pays_the_oldest_bill(site: Site) -> None:
    flat = site.flats[0]
    await site.run(FEBRUARY)
    await count_otherwise(site, flat, JANUARY, -200_500)
    await count_otherwise(site, flat, MARCH, -100_000)
    await late(site)
    await site.run(MARCH)
    january, february, note = await _bills(site, flat)
    assert (note.kind, note.number, note.state, note.total) == (
        "credit_note",
        "C2026-000001",
        "paid",
        Decimal("-97.90"),
    )
    assert [note.open, january.open, february.open] == [0, Decimal("146.73") - Decimal("97.90"), Decimal("122.08")]
    (other,) = [bill for bill in await site.bills(account_id=site.flats[1].account_id) if bill.issued_on == APRIL]
    assert other.number == "2026-000005"
    assert await site.proof() == []


async def test_what_no_bill_takes_of_a_note_is_the_balance_of_the_account(site: Site) -> None:
    flat = site.flats[0]
    async with site.db.transaction(SYSTEM) as conn:
        await payments.record_payment(conn, flat.account_id, Decimal(100), "cash", FEBRUARY)
    await count_otherwise(site, flat, JANUARY, -200_500)
    await late(site)
    async with site.db.transaction(SYSTEM) as conn:
        draft = await notes.note_of_adjustments(conn, flat.account_id, "meter was misread", by=ASKER)
        with pytest.raises(Conflict, match="nothing"):
            async with conn.transaction():
                await notes.note_of_adjustments(conn, flat.account_id, "again", by=ASKER)
        with pytest.raises(Conflict, match="somebody else"):
            await notes.approve_note(conn, draft.id, by=ASKER, now=noon(MARCH))
        note = await notes.approve_note(conn, draft.id, by=APPROVER, now=noon(MARCH))
        assert await notes.approve_note(conn, draft.id, by=APPROVER) == note
    (bill, _) = await _bills(site, flat)
    assert (bill.state, str(bill.open), bill.settled_on) == ("paid", "0.00", MARCH)
    assert await _balance(site, flat) == Decimal("97.90") - Decimal("46.73")
    assert await site.proof() == []
    with pytest.raises(psycopg.IntegrityError, match="is issued"):
        await site.rows("UPDATE bill SET total = -1 WHERE id = %s RETURNING 1", note.id)


async def test_a_debit_note_is_paid_like_a_bill(site: Site) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, JANUARY, 100_000)
    await late(site)
    async with site.db.transaction(SYSTEM) as conn:
        draft = await notes.note_of_adjustments(conn, flat.account_id, "late reading", by=ASKER)
        note = await notes.approve_note(conn, draft.id, by=APPROVER, now=noon(FEBRUARY))
        assert (note.kind, note.number, note.state, note.due_on) == (
            "debit_note",
            "D2026-000001",
            "issued",
            date(2026, 2, 16),
        )
        await payments.record_payment(conn, flat.account_id, Decimal("195.56"), "cash", FEBRUARY)
    assert [bill.state for bill in await _bills(site, flat)] == ["paid", "paid"]
    assert await site.proof() == []


async def test_a_credit_by_hand_names_its_line_and_takes_off_no_more_than_there_is(site: Site) -> None:
    (bill,) = await _bills(site, site.flats[0])
    note = await _credit(site, bill, "46.73")
    assert (note.number, note.total) == ("C2026-000001", Decimal("-46.73"))
    (bill,) = [one for one in await _bills(site, site.flats[0]) if one.kind == "bill"]
    assert bill.open == 100
    async with site.db.transaction(SYSTEM) as conn:
        (line,) = (await billing.get_bill(conn, note.id)).lines
        assert (line.detail["bill"], line.detail["line"], line.detail["reason"]) == (bill.number, 1, "goodwill")
    for amount, code in (("100.01", "amount-too-large"), ("0", "bad-amount"), ("0.001", "bad-amount")):
        with pytest.raises(InvalidInput) as refused:
            await _credit(site, bill, amount)
        assert refused.value.code == code
    with pytest.raises(InvalidInput, match="reason"):
        await _credit(site, bill, "1", " ")
    assert (await _credit(site, bill, "100")).number == "C2026-000002"
    (bill,) = [one for one in await _bills(site, site.flats[0]) if one.kind == "bill"]
    assert (str(bill.open), bill.state) == ("0.00", "paid")
    assert await site.proof() == []


async def test_a_note_that_is_thrown_away_leaves_no_hole(site: Site) -> None:
    flat = site.flats[0]
    (bill,) = await _bills(site, flat)
    await count_otherwise(site, flat, JANUARY, 100_000)
    await late(site)
    async with site.db.transaction(SYSTEM) as conn:
        draft = await notes.note_of_adjustments(conn, flat.account_id, "mistake", by=ASKER)
        await notes.cancel_note(conn, draft.id, "a mistake", by=None)
        with pytest.raises(NotFound):
            await notes.approve_note(conn, draft.id, by=APPROVER)
        with pytest.raises(NotFound):
            await notes.cancel_note(conn, bill.id, "a mistake", by=None)
        again = await notes.note_of_adjustments(conn, flat.account_id, "late reading", by=ASKER)
        assert (await notes.approve_note(conn, again.id, by=APPROVER)).number is not None
        with pytest.raises(Conflict):
            await notes.cancel_note(conn, again.id, "a mistake", by=None)
    assert [row["next"] for row in await site.rows("SELECT next FROM number_series WHERE series LIKE 'debit%%'")] == [2]


async def test_corrections_over_rest(site: Site, app_client: httpx.AsyncClient, people: People) -> None:
    flat = site.flats[0]
    await count_otherwise(site, flat, JANUARY, 100_000)
    await late(site)
    first, second = await people.staff(), await people.staff("manager", site.project.id)
    found = (await app_client.get(f"/api/v1/adjustments?account_id={flat.account_id}&open=true", headers=first)).json()
    (one,) = found["items"]
    assert (one["state"], one["difference"]["amount"], one["quantity"]["quantity"]) == ("open", "48.83", "400.5")
    assert (one["differences"][0]["line"], one["differences"][0]["quantity"]["quantity"]) == (1, "100")

    async def post(path: str, headers: dict[str, str], **body: Any) -> Any:
        return await app_client.post(f"/api/v1/{path}", json=body, headers={**headers, **once()})

    note = (await post(f"accounts/{flat.account_id}/adjustment-notes", first, reason="late reading")).json()
    assert (note["kind"], note["state"], note["total"]["amount"]) == ("debit_note", "draft", "48.83")
    refused = await app_client.post(f"/api/v1/notes/{note['id']}/approvals", headers={**first, **once()})
    assert (refused.status_code, refused.json()["code"]) == (409, "own-request")
    issued = await app_client.post(f"/api/v1/notes/{note['id']}/approvals", headers={**second, **once()})
    assert issued.json()["number"].startswith("D")
    detail = (await app_client.get(f"/api/v1/bills/{note['id']}", headers=first)).json()
    (line,) = detail["corrections"]
    assert (line["original_line"], line["original_period"]) == (1, "2026-01-01/2026-02-01")
    body = {"kind": "credit_note", "lines": [{"position": 1, "amount": "5.00"}], "reason": "goodwill"}
    draft = (await post(f"bills/{one['original_bill_id']}/notes", first, **body)).json()
    assert draft["total"]["amount"] == "-5.00"
    assert (
        await app_client.post(f"/api/v1/notes/{draft['id']}/cancellations", headers={**first, **once()})
    ).status_code == 422
    assert (await post(f"notes/{draft['id']}/cancellations", first, reason="not this one")).is_success
    (refusal,) = (await app_client.get("/api/v1/note-refusals", headers=second)).json()["items"]
    assert (refusal["note_id"], refusal["total"]["amount"], refusal["reason"]) == (draft["id"], "-5.00", "not this one")
    asked = await post(f"accounts/{flat.account_id}/re-ratings", first, since="2026-01-01")
    assert (asked.status_code, asked.headers["Location"]) == (202, asked.json()["job"])
