"""What a tariff must not say is refused at every door, with its field and what was expected in words."""

import copy
import html
import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from cloud.kit.db import SYSTEM, Database
from cloud.tariffs.commands import app
from cloud.tariffs.drafts.form import shape
from cloud.tariffs.drafts.service import set_own_approval
from tests.integration.app import People, once
from tests.integration.billing.site import Site, make_site
from tests.integration.tariffs.test_drafts import send, signed_in

Change = Callable[[dict[str, Any]], None]

WHOLE: dict[str, Any] = {
    "currency": "CNY",
    "service": "electricity",
    "unit": "kWh",
    "tiers": {"bounds": ["240", "400"], "window": {"kind": "month"}},
    "periods": {
        "codes": ["peak", "valley"],
        "allocation": {"method": "proportional"},
        "schedule": [
            {"days": days, "hours": {"peak": ["08:00-22:00"], "valley": ["00:00-08:00", "22:00-24:00"]}}
            for days in (["work", "critical"], ["rest", "holiday"])
        ],
    },
    "components": [
        {
            "kind": "energy",
            "code": "energy",
            "prices": {"peak": ["0.568", "0.618", "0.868"], "valley": ["0.288", "0.338", "0.588"]},
        },
        {"kind": "fixed", "code": "basic", "per": "month", "price": "5.00"},
    ],
    "minimum": {"amount": "1.00", "per": "month"},
}
PRICE = "a price of 0 or more with at most 8 decimals"
QUANTITY = "a quantity, 0 or more"
RISING = "each higher than the one before"
AMOUNTS = ("-5", "1e3", "NaN", " 3 ", "３", "１.５", "1,000", "+1", "Infinity", "٣", "0x10", "5元")


def _at(*path: str | int, value: Any) -> Change:
    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for part in path[:-1]:
            node = node[part]
        node[path[-1]] = value

    return change


def _without(*path: str | int) -> Change:
    def change(document: dict[str, Any]) -> None:
        node: Any = document
        for part in path[:-1]:
            node = node[part]
        del node[path[-1]]

    return change


HOURS = ("periods", "schedule", 0, "hours")
CELL = ("components", 0, "prices", "valley", 1)
CASES: list[tuple[str, Change, str, str]] = [
    ("tiers in disorder", _at("tiers", "bounds", value=["400", "240"]), "tiers.bounds", RISING),
    ("a tier twice", _at("tiers", "bounds", value=["240", "240"]), "tiers.bounds", RISING),
    ("a gap in the tiers", _at("tiers", "bounds", 0, value=""), "tiers.bounds.0", QUANTITY),
    ("a bound of nothing", _at("tiers", "bounds", value=["0", "240"]), "tiers.bounds", "upper bounds above 0"),
    ("an empty cell", _at(*CELL, value=""), "components.0.prices.valley.1", PRICE),
    ("a row too short", _at(*CELL[:-1], value=["0.288"]), "components.0.prices.valley", "3 prices, one per tier"),
    ("a period without prices", _without(*CELL[:-1]), "components.0.prices", "a row for each of peak, valley"),
    ("hours with a gap", _at(*HOURS, "valley", value=["00:00-08:00"]), "periods.schedule.0.hours", "22:00"),
    ("hours twice", _at(*HOURS, "peak", value=["07:00-22:00"]), "periods.schedule.0.hours", "07:00 is both"),
    ("no hours at the week-end", _without("periods", "schedule", 1), "periods.schedule", "rest days have no hours"),
    ("hours of holidays twice", _at("periods", "schedule", 0, "days", value=["work", "critical", "holiday"]),
     "periods.schedule", "holiday days have 2 sets of hours"),
    *[(f"price {amount!r}", _at(*CELL, value=amount), "components.0.prices.valley.1", PRICE) for amount in AMOUNTS],
    *[(f"bound {amount!r}", _at("tiers", "bounds", 1, value=amount), "tiers.bounds.1", QUANTITY) for amount in AMOUNTS],
    *[(f"fixed {amount!r}", _at("components", 1, "price", value=amount), "components.1.price", PRICE)
      for amount in AMOUNTS[:6]],
    *[(f"minimum {amount!r}", _at("minimum", "amount", value=amount), "minimum.amount", PRICE)
      for amount in AMOUNTS[:6]],
]  # fmt: skip
IDS = [name for name, *_ in CASES]
FLOATS: list[tuple[str, Change, str, str]] = [
    (f"{words[:10]} as number {number!r}", _at(*path, value=number), ".".join(map(str, path)), words)
    for number in (0.5, 1e3, -5, True)
    for path, words in ((CELL, PRICE), (("tiers", "bounds", 1), QUANTITY))
]
"""Numbers without quotes, which only files and programs can say."""


def _document(change: Change) -> dict[str, Any]:
    document = copy.deepcopy(WHOLE)
    change(document)
    return document


@pytest.mark.parametrize(("change", "field", "words"), [case[1:] for case in [*CASES, *FLOATS]],
                         ids=IDS + [name for name, *_ in FLOATS])  # fmt: skip
def test_a_file_is_refused_with_line_and_field(change: Change, field: str, words: str, tmp_path: Path) -> None:
    path = tmp_path / "tariff.yaml"
    path.write_text(json.dumps(_document(change), ensure_ascii=False, indent=1), "utf-8")
    done = CliRunner().invoke(app, ["check", str(path)])
    assert done.exit_code == 2
    assert words in done.output
    (line, *_) = done.output.splitlines()
    assert f"{field}: " in line.replace("[", ".").replace("]", "")
    assert int(line.partition("tariff.yaml:")[2].partition(":")[0]) > 1


@pytest.fixture
async def site(worker_db: Database) -> Site:
    """A project whose programs may publish."""
    made = await make_site(worker_db, flats=1, services=())
    async with made.db.transaction(SYSTEM) as conn:
        await set_own_approval(conn, made.project.id, True)
    return made


async def test_programs_are_refused_with_the_field(app_client: httpx.AsyncClient, people: People, site: Site) -> None:
    auth = await people.staff("admin", site.project.id)
    common = {"project_id": site.project.id, "code": "tou", "name": "TOU", "valid_from": "2026-03-01"}
    for name, change, field, words in [*CASES, *FLOATS]:
        content = _document(change)
        answer = await app_client.post(
            "/api/v1/tariff-versions",
            json={**common, "service": "electricity", "content": content},
            headers={**auth, **once()},
        )
        assert answer.status_code == 422, name
        found = answer.json()
        told = [(one["field"], one["detail"]) for one in found["errors"]]
        assert any(at == f"content.{field}" and words in detail for at, detail in told), (name, told)
        draft = await app_client.post(
            "/api/v1/tariff-drafts", json={**common, "content": content}, headers={**auth, **once()}
        )
        assert draft.status_code == 201, name
        problems = [(one["field"], one["detail"]) for one in draft.json()["problems"]]
        assert any(at == field and words in detail for at, detail in problems), (name, problems)
        path = f"/api/v1/tariff-drafts/{draft.json()['id']}/submissions"
        refused = await app_client.post(path, headers={**auth, **once()})
        assert (refused.status_code, refused.json()["code"]) == (422, "draft-has-mistakes")
    assert await site.rows("SELECT FROM tariff_version") == []


def _fields(node: Any, name: str = "t") -> list[tuple[str, str]]:
    """A shape as a browser sends it."""
    if isinstance(node, dict):
        return [pair for key, value in node.items() for pair in _fields(value, f"{name}.{key}")]
    if isinstance(node, list):
        return [pair for number, value in enumerate(node) for pair in _fields(value, f"{name}.{number}")]
    return [(name, str(node))]


def _typed(document: dict[str, Any]) -> list[tuple[str, str]]:
    """The fields of the editor form that say the document."""
    shaped = shape(document)
    assert shaped is not None
    return _fields(shaped)


@pytest.mark.parametrize("tab", ["form", "yaml"])
async def test_the_editor_keeps_what_was_typed_and_tells_what_is_wrong(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site, tab: str
) -> None:
    auth = await people.staff("admin", site.project.id)
    await signed_in(app_client, owner_db, auth)
    await app_client.get("/tariffs")
    begun = await send(
        app_client,
        "/tariff-drafts",
        {"name": "TOU", "code": "tou", "service_code": "electricity", "valid_from": "2026-03-01"},
    )
    address = begun.headers["location"].partition("?")[0]
    revision = 1
    for name, change, _, words in CASES:
        document = _document(change)
        text = json.dumps(document, ensure_ascii=False)
        said = _typed(document) if tab == "form" else [("yaml", text)]
        whole = [("name", "TOU"), ("valid_from", "2026-03-01"), ("tab", tab), ("revision", str(revision))]
        kept = await send(app_client, address, [*whole, *said])
        assert kept.status_code == 303, (name, kept.text)
        revision += 1
        page = html.unescape((await app_client.get(f"{address}?tab={tab}")).text)
        # The form has a field for every cell: what a file leaves out is an empty one there.
        left_out = tab == "form" and name in ("a row too short", "a period without prices")
        assert (PRICE if left_out else words) in page, name
        refused = await send(app_client, f"{address}/submit", {})
        assert refused.status_code == 422, name
        (draft,) = await site.rows("SELECT content, state FROM tariff_draft")
        assert draft["state"] == "draft"
    assert await site.rows("SELECT FROM tariff_version") == []


async def test_versions_that_overlap_are_refused_at_every_door(
    app_client: httpx.AsyncClient, owner_db: Database, people: People, site: Site
) -> None:
    auth = await people.staff("admin", site.project.id)
    common = {"project_id": site.project.id, "code": "tou", "name": "TOU", "content": WHOLE}
    publish = {**common, "service": "electricity"}

    async def post(path: str, body: dict[str, Any] | None = None) -> httpx.Response:
        return await app_client.post(f"/api/v1/{path}", json=body, headers={**auth, **once()})

    assert (await post("tariff-versions", {**publish, "valid_from": "2026-03-01"})).status_code == 201
    for day in ("2026-03-01", "2026-02-01"):
        refused = await post("tariff-versions", {**publish, "valid_from": day})
        assert (refused.status_code, refused.json()["code"]) == (409, "versions-overlap")
        assert refused.json()["errors"][0]["field"] == "valid_from"
        assert day in refused.json()["detail"]
        draft = (await post("tariff-drafts", {**common, "valid_from": day})).json()
        refused = await post(f"tariff-drafts/{draft['id']}/submissions")
        assert (refused.status_code, refused.json()["code"]) == (409, "versions-overlap")
    await signed_in(app_client, owner_db, auth)
    await app_client.get("/tariffs")
    page = await send(app_client, f"/tariff-drafts/{draft['id']}/submit", {})
    assert page.status_code == 409
    assert "versions-overlap" not in page.text
    assert "begins on or after" in page.text or "overlap" in page.text.lower()
    assert [row["day"] for row in await site.rows("SELECT lower(valid) AS day FROM tariff_version")] == [
        date(2026, 3, 1)
    ]
