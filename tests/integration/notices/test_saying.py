"""Notices exist exactly when what they tell is committed, once for a key, in the language of who reads them."""

import pytest

from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import InvalidInput
from cloud.kit.paging import PageRequest
from cloud.notices import service as notices
from cloud.notices.records import PREPAID_LOW, SUPPLY_WARNING, NoticeFilter, Preference, Settings
from tests.integration.notices.site import Site, make_site


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def test_is_told_once_for_a_key(site: Site) -> None:
    first = await site.say(site.saying("a"), site.saying("b"))
    again = await site.say(site.saying("b", subject="another text"), site.saying("c"))

    assert list(first) == ["a", "b"]
    assert list(again) == ["c"]
    assert [(one.dedupe_key, one.subject) for one in await site.notices()] == [
        ("a", "账单"),
        ("b", "账单"),
        ("c", "账单"),
    ]


async def test_what_is_rolled_back_is_not_told(site: Site) -> None:
    async with site.db.transaction(SYSTEM) as conn, conn.transaction(force_rollback=True):
        assert await notices.say(conn, site.project_id, [site.saying()])

    assert await site.notices() == []


async def test_speaks_the_language_of_the_person_then_of_the_project(site: Site) -> None:
    await site.say(site.saying("project's"))
    async with site.db.transaction(SYSTEM) as conn:
        await notices.set_preference(conn, Preference(site.project_id, site.li, "en"))
    await site.say(site.saying("his own"))

    assert [(one.language, one.subject) for one in await site.notices()] == [("zh-CN", "账单"), ("en", "Bills")]


async def test_says_why_a_notice_is_not_sent(site: Site) -> None:
    await site.say(site.saying("no address", person_id=site.wang))
    async with site.db.transaction(SYSTEM) as conn:
        await notices.set_preference(conn, Preference(site.project_id, site.li, None, (PREPAID_LOW,)))
    await site.say(site.saying("declined"), site.saying("must be told", kind=SUPPLY_WARNING))
    async with site.db.transaction(SYSTEM) as conn:
        await notices.set_settings(conn, Settings(site.project_id, by_email=False))
    await site.say(site.saying("project", kind=SUPPLY_WARNING))

    assert {one.dedupe_key: (one.state, one.reason) for one in await site.notices()} == {
        "no address": ("suppressed", "no-address"),
        "declined": ("suppressed", "declined"),
        "must be told": ("queued", ""),
        "project": ("suppressed", "project-off"),
    }


async def test_a_subject_is_one_line_whatever_it_is_made_of(site: Site) -> None:
    await site.say(site.saying(subject="Bill\r\nBcc: all@example.com\u2028 \u202e" + "x" * 400))

    subject = (await site.only()).subject
    assert subject.startswith("Bill Bcc: all@example.com x")
    assert len(subject) == 300


async def test_nobody_can_decline_what_must_be_told(site: Site) -> None:
    with pytest.raises(InvalidInput, match="expected some of"):
        async with site.db.transaction(SYSTEM) as conn:
            await notices.set_preference(conn, Preference(site.project_id, site.li, None, (SUPPLY_WARNING,)))


async def test_a_resident_reads_his_own_and_changes_only_his_own_wishes(site: Site, web_db: Database) -> None:
    await site.say(site.saying("to Li"), site.saying("to Wang", person_id=site.wang))
    li = Asker("resident", (site.project_id,), (site.li,), 1)

    async with web_db.transaction(li) as conn:
        await notices.set_preference(conn, Preference(site.project_id, site.li, "en", (PREPAID_LOW,)))
        await notices.set_preference(conn, Preference(site.project_id, site.li, "en"))
        seen = await notices.list_notices(conn, PageRequest(), NoticeFilter())
        wishes = await notices.preferences(conn, site.project_id, [site.li])
    assert [one.dedupe_key for one in seen.items] == ["to Li"]
    assert wishes[site.li] == Preference(site.project_id, site.li, "en")
    with pytest.raises(Exception, match="row-level security"):
        async with web_db.transaction(li) as conn:
            await notices.set_preference(conn, Preference(site.project_id, site.wang, "en"))
