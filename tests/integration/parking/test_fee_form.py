"""The form in which a clerk writes a fee rule: tried, mended and published without a script and without YAML."""

import httpx
import pytest

from cloud.kit import i18n
from cloud.kit.db import SYSTEM, Database
from cloud.parking.fees.problem_words import WORDS
from tests.integration.app import Auth, People
from tests.integration.browser import Browser, Fields, form_of, text_of
from tests.integration.parking.site import Site, rows


def with_(fields: Fields, **typed: str) -> dict[str, list[str]]:
    """All fields as they stand, but for those typed anew (`__` for the point in a name)."""
    new = {name.replace("__", "."): value for name, value in typed.items()}
    sent: dict[str, list[str]] = {}
    for name, value in fields:
        if name not in new:
            sent.setdefault(name, []).append(value)
    return {**sent, **{name: [value] for name, value in new.items()}}


@pytest.fixture
async def browser(app_client: httpx.AsyncClient, people: People, site: Site) -> Browser:
    """The manager's browser."""
    manager: Auth = await people.staff("manager", site.project_id)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    return Browser(app_client, manager)


async def test_a_clerk_writes_prices_by_the_time_of_day(browser: Browser, worker_db: Database, site: Site) -> None:
    address = f"/parking/lots/{site.lot_id}/fees"
    form = form_of(await browser.see(address))
    assert dict(form.fields)["r.schedules.0.free_minutes"] == "90"
    typed = {"r__name": "Day and night", "r__schedules__0__way": "windows", "r__schedules__0__first__minutes": "",
             "r__schedules__0__first__amount": ""}  # fmt: skip
    answer = await browser.send(address, 200, **with_(form.fields, **typed), action="add:schedules.0.windows")
    form = form_of(answer.text)
    assert (dict(form.fields)["r.name"], dict(form.fields)["r.schedules.0.windows.0.start"]) == (
        "Day and night",
        "08:00",
    )
    base = "r__schedules__0__windows__"
    typed = {
        f"{base}0__price": "¥ 2,50",
        f"{base}0__minutes": "30",
        f"{base}1__price": "a little",
        f"{base}1__cap": "10",
    }
    answer = await browser.send(address, 422, **with_(form.fields, **typed), action="publish")
    form, said = form_of(answer.text), text_of(answer.text)
    assert "By the time of day › 2 › costs : An amount such as 5.00" in said
    assert dict(form.fields)["r.schedules.0.windows.1.price"] == "a little"
    answer = await browser.send(address, 303, **with_(form.fields, **{f"{base}1__price": "1"}), action="publish")
    new = (await rows(worker_db, "SELECT content FROM parking_rule_version ORDER BY version"))[-1]["content"]
    assert [(one["start"], one["price"], one["cap"]) for one in new["schedule"]["windows"]] == [
        ("08:00", "2.50", None),
        ("20:00", "1", "10"),
    ]
    assert (new["schedule"]["unit"], new["classes"]["new-energy"]["first"]["amount"]) == (None, "2.50")


async def test_what_changes_is_seen_before_anything_is_published(browser: Browser, site: Site) -> None:
    address = f"/parking/lots/{site.lot_id}/fees"
    form = form_of(await browser.see(address))
    stay = {"stay__from": "2026-06-01T09:00", "stay__to": "2026-06-01T14:00", "stay__class": "small"}
    typed = with_(form.fields, r__schedules__0__unit__price="3", valid_from="2026-06-01", **stay)
    tried = text_of((await browser.send(f"{address}/preview", 200, **typed)).text)
    assert "This stay costs ¥8.00 ¥14.00" in tried
    assert "One price › costs 1.00 3" in tried
    assert "5 h ¥8.00 ¥14.00 ¥8.00 ¥14.00" in tried
    too_long = with_(form.fields, **{**stay, "stay__to": "2027-06-01T09:00"})
    assert "This stay costs" not in text_of((await browser.send(f"{address}/preview", 200, **too_long)).text)
    wrong = with_(form.fields, r__schedules__0__free_minutes="soon", r__schedules__0__unit__price="")
    found = (await browser.send(f"{address}/preview", 200, **wrong)).text
    assert 'data-problem-field="r.schedules.0.free_minutes"><a' in found
    assert 'data-problem-field="r.schedules.0.unit.price" data-problem-open' in found


async def test_a_class_has_a_schedule_of_its_own_and_gives_it_up(browser: Browser, site: Site) -> None:
    address = f"/parking/lots/{site.lot_id}/fees"
    form = form_of(await browser.see(address))
    assert {"add-class:large", "remove:schedules.1"} <= set(form.actions)
    form = form_of((await browser.send(address, 200, **with_(form.fields), action="add-class:large")).text)
    assert dict(form.fields)["r.schedules.2.class"] == "large"
    as_yaml = await browser.send(address, 200, **with_(form.fields, r__name="Prüfung"), action="to-yaml")
    text = dict(form_of(as_yaml.text).fields)["rule"]
    assert ("name: Prüfung" in text, "large:" in text) == (True, True)
    form = form_of((await browser.send(address, 200, tab="yaml", rule=text, action="to-form")).text)
    form = form_of((await browser.send(address, 200, **with_(form.fields), action="remove:schedules.1")).text)
    assert [value for name, value in form.fields if name.endswith(".class")] == ["large"]


@pytest.mark.parametrize("name", ["mall", "residential", "hospital", "office", "day-night"])
async def test_rules_to_begin_with_can_be_published_as_they_are(
    browser: Browser, worker_db: Database, site: Site, name: str
) -> None:
    address = f"/parking/lots/{site.lot_id}/fees"
    form = form_of(await browser.see(f"{address}?begin={name}"))
    await browser.send(address, 303, **with_(form.fields), action="publish")
    assert len(await rows(worker_db, "SELECT id FROM parking_rule_version")) == 2


async def test_what_the_form_cannot_show_stays_as_it_was_typed(
    browser: Browser, worker_db: Database, site: Site
) -> None:
    address = f"/parking/lots/{site.lot_id}/fees"
    unchanged = form_of(await browser.see(address)).fields
    for text in ("name: x\ncolour: red\nschedule: {}\n", "name: [", "- a list\n", "\n  name: x\n"):
        answer = await browser.send(address, 200, tab="yaml", rule=text, action="to-form")
        assert dict(form_of(answer.text).fields)["rule"] == text
    refused = await browser.send(address, 422, tab="yaml", rule="x" * 60_000, action="to-form")
    assert "at most 50000 characters" in refused.text
    await browser.send(address, 422, **with_(unchanged, valid_from="soon"), action="publish")
    assert len(await rows(worker_db, "SELECT id FROM parking_rule_version")) == 1


async def test_mistakes_and_changes_are_said_in_the_readers_language(
    browser: Browser, people: People, site: Site
) -> None:
    address = f"/parking/lots/{site.lot_id}/fees"
    form = form_of(await browser.see(address))
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE app_user SET locale = 'zh-CN'")
    text = "name: x\nschedule: {steps: [{minutes: 1, price: '1', up_to_minutes: 5}]}\n"
    said = text_of((await browser.send(f"{address}/preview", 200, tab="yaml", rule=text)).text)
    assert i18n.load_catalogues()["zh-CN"].gettext(WORDS["steps-open"]) in said
    changed = with_(form.fields, r__name="y")
    said = text_of((await browser.send(f"{address}/preview", 200, **changed)).text)
    assert i18n.load_catalogues()["zh-CN"].gettext("Name") + " Mall lot" in said
