"""Promise 7: "A bill explains itself: each tier × period shows quantity × price = amount, and can be added up by hand."

By hand: from what stands on the paper or in the JSON alone, by code that knows nothing of ours.
"""

import io
import re
from dataclasses import dataclass, field
from datetime import date
from decimal import ROUND_HALF_UP, Decimal
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pypdf
import pytest
import yaml

from cloud.billing import service as billing
from cloud.kit.db import SYSTEM, Database
from cloud.kit.periods import day_start
from cloud.metering.thresholds.overrides import set_of_class
from cloud.tariffs import service as tariffs
from cloud.tariffs.model.tariff import TariffContent
from tests.acceptance.money.office import Document, Office
from tests.integration.billing.late import count_otherwise
from tests.integration.billing.site import TARIFFS, Flat, Site, make_site
from tests.unit.cloud.billing.by_hand import add_up

JANUARY, FEBRUARY = date(2026, 1, 1), date(2026, 2, 1)
FILES = sorted(TARIFFS.glob("*.yaml"))
DAY_AND_NIGHT = [{"hours": {"peak": ["08:00-22:00"], "valley": ["00:00-08:00", "22:00-24:00"]}}]
"""For tariffs whose meters usually have a register for each price: here one meter tells its hours."""
CALLS_BY_METER = {"currency": "CNY", "service": "electricity", "unit": "kWh"}
"""For the tariff of phone calls: nothing in a building counts pieces."""


def content_of(file: Path) -> TariffContent:
    """The tariff of a file, made such that a meter of a building can be billed by it; prices and tiers as they are."""
    content = yaml.safe_load(file.read_text())
    if content.get("periods") and "schedule" not in content["periods"]:
        content["periods"]["schedule"] = DAY_AND_NIGHT
    return TariffContent.model_validate(content | (CALLS_BY_METER if content["currency"] == "USD" else {}))


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A flat for each tariff file, whose meters counted every quarter of an hour of two months."""
    site = await make_site(worker_db, flats=len(FILES), services=())
    async with site.db.transaction(SYSTEM) as conn:
        # Nobody is said to live there, and a single quarter is counted otherwise.
        rules = {"inactive": "info", "spike": "info"}
        await set_of_class(conn, site.project.id, "electricity-residential", {"rules": rules})
    for number, (file, flat) in enumerate(zip(FILES, site.flats, strict=True)):
        content = content_of(file)
        if content.service == "water":
            await site.read(flat, "water", [100_123_456, 170_654_321])
        elif content.service == "electricity":
            await _count(site, flat, number)
        await _agree(site, flat, file.stem, content)
    return site


async def _agree(site: Site, flat: Flat, code: str, content: TariffContent) -> None:
    meter_id = flat.meters["water" if content.service == "water" else "electricity"]
    async with site.db.transaction(SYSTEM) as conn:
        sold = await tariffs.publish(conn, site.project.id, code, code, content.service, content, JANUARY)
        metered = meter_id if content.energy else None
        await billing.create_agreement(
            conn, site.project.id, flat.account_id, content.service, sold.tariff_id, metered, None, JANUARY
        )


async def _count(site: Site, flat: Flat, number: int) -> None:
    """About 2,830 kWh in January and 2,550 in February, so that tiers end in either; reactive energy beside it."""
    values = {
        "meter": flat.meters["electricity"], "project": site.project.id, "seed": number * 31,
        "start": day_start(JANUARY, site.project.zone),
    }  # fmt: skip
    async with site.db.transaction(SYSTEM) as conn:
        await conn.execute(
            """WITH slot AS (SELECT n, 700 + (n * 7919 + %(seed)s) %% 503 AS wh FROM generate_series(0, 59 * 96 - 1) n),
                    used AS (INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
                             SELECT %(meter)s, channel, %(start)s + n * interval '15 min', 900, wh / part, %(project)s
                             FROM slot, (VALUES (1, 1), (8, 2)) AS register (channel, part))
               INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id)
               SELECT %(meter)s, 1, %(start)s + day * interval '1 day',
                      5000000 + coalesce((SELECT sum(wh) FROM slot WHERE n < day * 96), 0), %(project)s
               FROM unnest(ARRAY[0, 31, 59]) AS day""",
            values,
        )


@dataclass
class Paper(HTMLParser):
    """The rows of a bill as people see them: texts of cells, and over how many columns they go."""

    rows: list[list[tuple[int, str]]] = field(default_factory=list)
    _open: list[list[tuple[int, str]]] = field(default_factory=list)
    _cells: list[tuple[int, list[str]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self._open.append([])
        elif tag in ("td", "th"):
            self._cells.append((int(dict(attrs).get("colspan") or 1), []))

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr":
            self.rows.append(self._open.pop())
        elif tag in ("td", "th"):
            width, words = self._cells.pop()
            self._open[-1].append((width, "".join(words).strip()))

    def handle_data(self, data: str) -> None:
        if self._cells:
            self._cells[-1][1].append(data)


def read(html: bytes) -> Paper:
    """The bill as it lies on the table."""
    paper = Paper()
    paper.feed(html.decode())
    return paper


def _money(text: str) -> Decimal | None:
    found = re.fullmatch(r"([-−]?)¥([-−]?)([\d,]+\.\d\d)", text)
    if found is None:
        return None
    amount = Decimal(found[3].replace(",", ""))
    return -amount if found[1] or found[2] else amount


def _number(text: str) -> Decimal:
    found = re.search(r"[-−]?[\d,]*\d(\.\d+)?", text)
    assert found is not None, text
    number = Decimal(found[0].replace(",", "").replace("−", "-"))
    return number / 100 if text.endswith("%") else number


def add_up_paper(html: bytes) -> int:
    """With a pencil: every line is quantity × price, lines make subtotals, subtotals the total. Gives the products."""
    block, whole, products, off = Decimal(0), Decimal(0), 0, Decimal(0)
    for row in read(html).rows:
        words = [text for _, text in row]
        if len(row) == 1 and row[0][0] == 4:
            # A correction is the difference of two amounts that were rounded each: it may lie a cent beside.
            off = Decimal("0.01") if "correction of bill" in words[0] else Decimal(0)
        elif len(row) == 4 and (amount := _money(words[3])) is not None:
            block += amount
            if words[2]:
                product = (_number(words[1]) * _number(words[2])).quantize(Decimal("0.01"), ROUND_HALF_UP)
                assert abs(product - amount) <= off, words
                products += 1
        elif len(row) == 2 and row[0][0] == 3:
            assert _money(words[1]) == block, words
            block, whole = Decimal(0), whole + block
        elif words[0] == "Total":
            assert _money(words[1]) == whole, words
            return products
    raise AssertionError("there is no total")


async def _bills(office: Office) -> dict[str, list[Document]]:
    """The bills of two months by the name of the tariff file."""
    for month in (JANUARY, FEBRUARY):
        run = await office.bill(month)
        assert (run["billed"], run["failures"]) == (len(FILES), [])
    return {
        file.stem: await office.bills(flat) for file, flat in zip(FILES, office.site.flats, strict=True)
    }  # fmt: skip


async def test_every_tariff_can_be_added_up_from_the_json_the_screen_and_the_paper(office: Office) -> None:
    tiers: dict[str, set[tuple[Any, Any, Any]]] = {}
    for name, bills in (await _bills(office)).items():
        assert len(bills) == 2
        for bill in bills:
            explanation = await office.get(f"bills/{bill['id']}/explanation")
            add_up(explanation)
            html = await office.document(bill, "html")
            lines = [line for charge in explanation["bill"]["charges"] for line in charge["lines"]]
            assert add_up_paper(html) == len([line for line in lines if line["price"] is not None]) > 0, name
            used = {(line["season"], line["tier"], line["time_period"]) for line in lines if line["kind"] == "usage"}
            tiers.setdefault(name, set()).update(used)
        _same_on_paper(html, await office.document(bill, "pdf"))
    # It would be easy to explain bills without tiers and hours.
    assert tiers["beijing-electricity"] == {(None, tier, None) for tier in (1, 2, 3)}
    assert tiers["zhejiang-electricity-peak-valley"] == {
        (None, tier, hours) for tier in (1, 2, 3) for hours in ("peak", "valley")
    }
    assert {hours for _, _, hours in tiers["industrial-electricity"]} == {"peak", "flat", "valley"}
    assert await office.site.proof() == []


def _same_on_paper(html: bytes, pdf: bytes) -> None:
    """The PDF says the same numbers in the same order."""
    text = "".join(page.extract_text() for page in pypdf.PdfReader(io.BytesIO(pdf)).pages)
    squeezed, place = re.sub(r"\s", "", text), 0
    for row in read(html).rows:
        if len(row) == 4 and _money(row[3][1]) is not None:
            for _, cell in row[1:]:
                wanted = re.sub(r"\s", "", cell)
                place = squeezed.index(wanted, place) + len(wanted)


async def test_discounts_and_corrections_can_be_added_up_too(office: Office, chief: Office) -> None:
    names = [file.stem for file in FILES]
    flat = office.site.flats[names.index("beijing-water")]
    filed = await office.post(
        "concessions", project_id=office.site.project.id, account_id=flat.account_id, rule="subsidy", name="Veterans",
        kind="percent", value="12.5", valid_from="2026-01-01", reason="decree",
    )  # fmt: skip
    await chief.post(f"concessions/{filed['id']}/approvals", reason="papers seen")
    await office.bill(JANUARY)
    other = office.site.flats[names.index("beijing-electricity")]
    await count_otherwise(office.site, other, JANUARY, 100_000)
    await office.nightly("billing.re-rate")
    await office.bill(FEBRUARY)
    for one, kind in ((flat, "discounts"), (other, "corrections")):
        bill = (await office.bills(one))[1]
        explanation = await office.get(f"bills/{bill['id']}/explanation")
        add_up(explanation)
        add_up_paper(await office.document(bill, "html"))
        lines = explanation["bill"][kind] if kind == "corrections" else explanation["bill"]["charges"][0]["lines"]
        assert [line for line in lines if line["kind"] in ("discount", "adjustment")], kind


async def test_the_explanation_names_what_the_tiers_follow_from(office: Office) -> None:
    """Bounds as published, what the year had used before, and what this bill used of each tier."""
    bills = (await _bills(office))["beijing-electricity"]
    january, february = [await office.get(f"bills/{bill['id']}/explanation") for bill in bills]
    used = [Decimal(one["charges"][0]["tiers"]["used_here"]) for one in (january, february)]
    assert used[0] < 2880 < 4800 < sum(used)
    tiers = february["charges"][0]["tiers"]
    assert [(step["above"], step["upper"]) for step in tiers["steps"]] == [
        ("0", "2880"),
        ("2880", "4800"),
        ("4800", None),
    ]
    assert (Decimal(tiers["used_before"]), tiers["window"]) == (used[0], {"start": "2026-01-01", "end": "2027-01-01"})
    assert [Decimal(step["used_here"]) for step in tiers["steps"]] == [2880 - used[0], Decimal(1920), sum(used) - 4800]
    metering = february["charges"][0]["metering"]
    assert (Decimal(metering["closing"]) - Decimal(metering["opening"])) * Decimal(metering["multiplier"]) == used[1]
