"""Bills as PDF and HTML: what they say in both languages, who may have them, and that names cannot break them."""

import io
from datetime import date
from typing import Any

import httpx
import pypdf
import pytest
import typst
from fastapi import FastAPI

from cloud.billing.documents import pdf
from cloud.billing.documents.model import BillDocument
from cloud.billing.documents.pdf import typeset
from cloud.billing.documents.service import bill_document
from cloud.billing.records import BillRow
from cloud.billing.service import RunOptions, execute_run, start_run
from cloud.identity.guards import SESSION_COOKIE
from cloud.kit import i18n
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Unavailable
from cloud.kit.periods import Period
from cloud.settings import CloudSettings
from tests.integration.app import Auth, People
from tests.integration.billing.site import JANUARY_USAGE, Site, make_site
from tests.unit.cloud.billing.by_hand import add_up
from tests.worlds import World, world

JANUARY = Period(date(2026, 1, 1), date(2026, 2, 1))
PUBLIC = "https://pay.example.com"
HOSTILE = '张三 #eval("1+1") $x^2$ *bold* _it_ \\ "quotes" <b>&amp;</b> #import "/etc/passwd": * // 😀 \u202e'
LONG = "W" * 120


@pytest.fixture
def settings(settings: CloudSettings) -> CloudSettings:
    """With an address that the code can lead to."""
    return settings.model_copy(update={"public_url": PUBLIC})


@world
async def site_world(db: Database) -> Site:
    """Two flats with bills of January; the first resident's name is a Chinese one."""
    made = await make_site(db)
    for flat in made.flats:
        for medium, quantity in JANUARY_USAGE.items():
            await made.read(flat, medium, [quantity])
    await made.rows("UPDATE project SET name = '阳光花园', address = '北京市朝阳区建国路1号' RETURNING 1")
    await _rename(made, "欧阳若兰")
    return made


@pytest.fixture
def site(site_world: World[Site], worker_db: Database) -> Site:
    """That world, which only this test changes."""
    return site_world.of(worker_db)


async def _rename(site: Site, name: str) -> None:
    await site.rows("UPDATE person SET name = %s WHERE id = %s RETURNING 1", name, site.flats[0].person_id)


async def _issued(site: Site) -> BillRow:
    await site.run(JANUARY.start)
    return (await site.bills(account_id=site.flats[0].account_id))[0]


async def _document(client: httpx.AsyncClient, auth: Auth, bill_id: int, **query: str) -> httpx.Response:
    return await client.get(f"/api/v1/bills/{bill_id}/document", params=query, headers=auth)


def _text(content: bytes) -> str:
    return "\n".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(content)).pages)


async def _composed(site: Site, bill_id: int) -> BillDocument:
    async with site.db.transaction(SYSTEM) as conn:
        return await bill_document(conn, bill_id, "zh-CN", i18n.load_catalogues()["zh-CN"], PUBLIC)


@pytest.mark.parametrize(
    ("language", "wanted"),
    [
        ("zh-CN", ["2026年1月", "欧阳若兰", "物业费", "第 1 档", "水费", "合计", "2026年2月16日"]),
        ("en", ["Bill for Jan 2026", "欧阳若兰", "Property fee", "Tier 1", "Water price", "Total", "Feb 16, 2026"]),
    ],
)
async def test_pdf_says_the_bill(
    app_client: httpx.AsyncClient, people: People, site: Site, language: str, wanted: list[str]
) -> None:
    bill = await _issued(site)
    answer = await _document(app_client, await people.staff("admin"), bill.id, language=language)
    assert answer.status_code == 200, answer.text
    assert answer.headers["Content-Type"] == "application/pdf"
    assert answer.headers["Content-Disposition"] == f'attachment; filename="{bill.number}.pdf"'
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    text = _text(answer.content)
    common = ["2026-000001", "A-0000", "阳光花园", "北京市朝阳区建国路1号", "¥319.16", "100 kWh", "× 0.4883", "¥48.83"]
    missing = [one for one in [*common, "89.5 m²", "× 2.35", "¥210.33", "5,100.000 kWh", *wanted] if one not in text]
    assert missing == [], text
    links = [
        note.get_object()["/A"]["/URI"]
        for page in pypdf.PdfReader(io.BytesIO(answer.content)).pages
        for note in page.get("/Annots", [])
    ]
    assert links == [f"{PUBLIC}/my/bills/{bill.id}"]


async def test_the_same_bill_is_the_same_bytes(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    bill, admin = await _issued(site), await people.staff("admin")
    for form in ("pdf", "html"):
        answers = [await _document(app_client, admin, bill.id, language="zh-CN", format=form) for _ in range(2)]
        assert answers[0].content == answers[1].content
    # Another thread with another compiler, another order of work.
    document = await _composed(site, bill.id)
    assert typeset(document, typst.Fonts()) == typeset(document)


async def test_names_are_text_and_nothing_else(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    await _rename(site, HOSTILE + LONG)
    bill, admin = await _issued(site), await people.staff("admin")
    written = await _document(app_client, admin, bill.id, language="en")
    assert written.status_code == 200, written.text
    text = _text(written.content).replace("\n", "").replace("\u200b", "")
    assert '#eval("1+1") $x^2$ *bold* _it_ \\ "quotes" <b>&amp;</b> #import "/etc/passwd": * // 😀' in text
    assert LONG in text
    html = (await _document(app_client, admin, bill.id, language="en", format="html")).text
    assert "&lt;b&gt;&amp;amp;&lt;/b&gt;" in html
    assert "<b>" not in html
    assert "\u202e" not in html


async def test_html_needs_nothing_else(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    bill = await _issued(site)
    answer = await _document(app_client, await people.staff("admin"), bill.id, language="zh-CN", format="html")
    assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'; img-src data:")
    assert answer.headers["Content-Disposition"] == f'inline; filename="{bill.number}.html"'
    html = answer.text
    assert "欧阳若兰" in html
    assert "¥319.16" in html
    assert 'src="data:image/png;base64,' in html
    assert html.count(f'href="{PUBLIC}/my/bills/{bill.id}"') == 1
    assert all(forbidden not in html for forbidden in ("<script", "<style", "<link", "<form", "url("))
    assert html.count("http") == html.count(PUBLIC)


async def test_residents_have_their_own_issued_bills(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn:
        await start_run(conn, site.project.id, JANUARY, options=RunOptions())
    run_id = (await site.rows("SELECT id FROM bill_run"))[0]["id"]
    await execute_run(site.db, SYSTEM, run_id)
    draft = (await site.bills(account_id=site.flats[0].account_id))[0]
    mine, other = [await people.resident(site.project.id, flat.person_id) for flat in site.flats]
    cashier, guard = await people.staff("cashier"), await people.staff("guard")
    assert (await _document(app_client, mine, draft.id)).status_code == 404
    shown = await _document(app_client, cashier, draft.id, language="en")
    assert shown.headers["Content-Disposition"] == f'attachment; filename="draft-{draft.id}.pdf"'
    assert "DRAFT" in _text(shown.content)
    assert "How to pay" not in _text(shown.content)
    await site.rows(
        """UPDATE bill SET state = 'issued', number = '2026-' || id, issued_on = '2026-02-01', due_on = '2026-02-16'
           RETURNING 1"""
    )
    for auth, status in ((mine, 200), (other, 404), (cashier, 200), (guard, 403), ({}, 401)):
        assert (await _document(app_client, auth, draft.id)).status_code == status
    text = _text((await _document(app_client, mine, draft.id, language="en")).content)
    assert "DRAFT" not in text
    assert "How to pay" in text
    for wrong in ({"language": "fr"}, {"format": "docx"}):
        assert (await _document(app_client, mine, draft.id, **wrong)).status_code == 422


async def test_a_void_bill_says_so(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    bill = await _issued(site)
    await site.rows("UPDATE bill SET state = 'void' WHERE id = %s RETURNING 1", bill.id)
    text = _text((await _document(app_client, await people.staff("admin"), bill.id, language="en")).content)
    assert "VOID" in text
    assert "How to pay" not in text


async def test_without_an_address_there_is_no_code(
    app: FastAPI, app_client: httpx.AsyncClient, people: People, site: Site
) -> None:
    app.state.settings = app.state.settings.model_copy(update={"public_url": None})
    bill, admin = await _issued(site), await people.staff("admin")
    html = (await _document(app_client, admin, bill.id, language="en", format="html")).text
    assert "<img" not in html
    assert "Pay at the property office." in html
    assert (await _document(app_client, admin, bill.id, language="en")).status_code == 200


async def test_latin_needs_no_font_and_chinese_says_which(
    app_client: httpx.AsyncClient, people: People, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare = typst.Fonts(include_system_fonts=False)
    monkeypatch.setattr(pdf, "installed", lambda: bare)
    await _rename(site, "Ada Lovelace")
    await site.rows("UPDATE project SET name = 'Sun Garden', address = '' RETURNING 1")
    bill = await _issued(site)
    async with site.db.transaction(SYSTEM) as conn:
        english = await bill_document(conn, bill.id, "en", i18n.load_catalogues()["en"], None)
    assert "Ada Lovelace" in _text(typeset(english))
    with pytest.raises(Unavailable, match="fonts-noto-cjk"):
        typeset(await _composed(site, bill.id))
    refused = await _document(app_client, await people.staff("admin"), bill.id, language="zh-CN")
    assert (refused.status_code, refused.json()["code"]) == (503, "no-chinese-font")


async def test_explanations_add_up_by_hand(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    """Three months over a bound, a large household and the water of a wide one, as REST shows them."""
    big = site.flats[0]
    for medium, usage in (("electricity", [2_800_000, 300_500, 2_000_001]), ("water", [170_000_333, 20_000_000, 1])):
        await site.rows("DELETE FROM store.reading WHERE meter_id = %s RETURNING 1", big.meters[medium])  # type: ignore[index]
        await site.rows("DELETE FROM store.usage WHERE meter_id = %s RETURNING 1", big.meters[medium])  # type: ignore[index]
        await site.read(big, medium, usage)  # type: ignore[arg-type]  # the loop's tuples
    await site.rows(
        """INSERT INTO household (project_id, unit_id, persons, valid)
           VALUES (%s, %s, 7, '[2026-02-01,)') RETURNING 1""",
        site.project.id,
        big.unit_id,
    )
    for month in (1, 2, 3):
        await site.run(date(2026, month, 1))
    auth = await people.resident(site.project.id, big.person_id)
    seen: list[dict[str, Any]] = []
    for bill in await site.bills(account_id=big.account_id):
        answer = await app_client.get(f"/api/v1/bills/{bill.id}/explanation", headers=auth)
        assert answer.status_code == 200, answer.text
        add_up(answer.json())
        seen += answer.json()["charges"]
    electricity = [one["tiers"] for one in seen if one["unit"] == "kWh"]
    assert [one["used_after"] for one in electricity] == ["2800", "3100.5", "5100.501"]
    # Large from February on: 11 of 12 months of the raise of a year, and twice that for two more persons.
    assert [one["steps"][0]["upper"] for one in electricity] == ["2880", "3980", "3980"]
    times = [one["times"] for one in (two["household"] for two in seen if two["household"])]
    assert times == ["0", "0", "0.9167", "1.8333", "0.9167", "1.8333"]


async def test_the_page_shows_why(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    bill = await _issued(site)
    auth = await people.resident(site.project.id, site.flats[0].person_id)
    await site.rows("UPDATE access_token SET kind = 'session' RETURNING 1")
    app_client.cookies.set(SESSION_COOKIE, auth["Authorization"].removeprefix("Bearer "))
    html = (await app_client.get(f"/my/bills/{bill.id}")).text
    assert "Tier 1 up to 2,880 kWh: 0 before, 100 now" in html
    assert "Billed area 89.5 m²" in html
    assert 'id="pay-code"' in html
    assert f'href="/api/v1/bills/{bill.id}/document?format=pdf"' in html
