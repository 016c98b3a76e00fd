"""Pages of imports in a real browser: preview, import, and a row confirmed; nothing is wider than the window."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from cloud.kit.db import SYSTEM, Database
from cloud.metering.imports.run import run_import
from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import STAFF

pytestmark = pytest.mark.browser


def _look(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"
    assert visitor.crushed() == [], name


def _work(site: Site) -> None:
    """Does the newest import, as a worker would."""
    import_id = site.value("SELECT max(id) FROM reading_import")
    assert isinstance(import_id, int)

    async def run() -> None:
        async with Database(site.owner_dsn, "gatemeter_worker", max_size=1) as db:
            await run_import(db, SYSTEM, import_id)

    with ThreadPoolExecutor(1) as thread:
        thread.submit(asyncio.run, run()).result()


@pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])
@pytest.mark.parametrize("tag", ["en", "zh-CN"])
def test_a_file_is_looked_at_imported_and_confirmed(
    browser: Browser, site: Site, tmp_path: Path, width: int, height: int, tag: str
) -> None:
    code = site.estate.meters[0].code
    file = tmp_path / f"readings of a rather long name {tag} {width}.csv"
    file.write_text(
        f"表号,抄表时间,读数\n{code},2000-01-31,1\n{code},2100-01-01,2\nNOWHERE-{width},2026-01-31 08:00,1234.5\n"
        f"{code},31st of May,17\n{code},2026-01-31 08:00,1234.56789\n{code},{_last_minute(site)},0.{width}\n"
    )
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak(tag)
        visitor.open("/reading-imports")
        _look(visitor, f"staff-imports-empty-{tag}-{width}")
        page = visitor.open("/reading-imports/new")
        page.evaluate("() => document.querySelectorAll('main details').forEach(one => { one.open = true; })")
        _look(visitor, f"staff-import-new-{tag}-{width}")
        page.set_input_files("#file", file)
        page.click("button[name=dry_run]")
        page.locator("#import .progress-bar-animated").wait_for(state="attached")
        _work(site)
        # The page looks for itself how far it is.
        page.click("form[action$='/import'] button")
        page.locator("#import .progress-bar-animated").wait_for(state="attached")
        _look(visitor, f"staff-import-running-{tag}-{width}")
        _work(site)
        page.locator("#confirm").wait_for()
        _look(visitor, f"staff-import-{tag}-{width}")
        page.check("[name=lines]")
        page.fill("[name=reason]", "read twice")
        page.click("#confirm button")
        page.locator("#import .progress-bar-animated").wait_for(state="attached")
        _work(site)
        page.get_by_text("read twice").wait_for()
        visitor.open("/reading-imports")
        _look(visitor, f"staff-imports-{tag}-{width}")
        assert visitor.complaints == []


def _last_minute(site: Site) -> str:
    """Just after the newest reading of the first meter, on the clock of the project."""
    found = site.value(
        """SELECT to_char((max(taken_at) + interval '1 second') AT TIME ZONE 'Asia/Shanghai', 'YYYY-MM-DD HH24:MI:SS')
           FROM store.reading WHERE meter_id = %s AND channel = 1""",
        site.estate.meters[0].id,
    )
    return str(found)
