"""The web process on a real port over a small estate, and a browser that reports every complaint it has."""

import asyncio
import os
import secrets
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright
from psycopg import sql
from psycopg.conninfo import make_conninfo

from cloud.kit.security import Keys
from cloud.web.bundle import bundle
from cloud.web.shell import WEB
from tests.browser.estate import PASSWORD, Estate, make_estate
from tests.web_process import web_process

_CHROMIUM = "/usr/bin/chromium"
_ARGUMENTS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_HERE = Path(__file__).parent
_SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What people do on pages is tried on a phone and in Chinese; with GATEMETER_BROWSER=every at all sizes, in both.

    Each takes ten seconds and more. Every page is looked at in every size and language all the same, by `test_pages`.
    """
    if os.environ.get("GATEMETER_BROWSER") == "every":
        return
    left_out = [one for one in items if one.path.parent == _HERE and _is_a_variant(one)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if one not in left_out]


def _is_a_variant(item: pytest.Item) -> bool:
    if item.path.name == "test_pages.py" or not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return False
    return bool({"desktop", "en"} & set(item.callspec.id.split("-")))


@dataclass(frozen=True, slots=True)
class Site:
    """A running web process and the estate it shows."""

    url: str
    estate: Estate
    owner_dsn: str

    def value(self, query: str, *values: object) -> object:
        """The single value that a query of the database's owner gives."""
        with psycopg.connect(self.owner_dsn) as conn:
            row = conn.execute(query, values).fetchone()
        assert row is not None
        return row[0]

    def finding(self, meter_id: int) -> object:
        """A refused reading of this meter that waits for a decision."""
        with psycopg.connect(self.owner_dsn) as conn:
            row = conn.execute(
                """INSERT INTO meter_exception (project_id, meter_id, channel, rule, from_at, until_at, found)
                   SELECT project_id, meter_id, channel, 'backward', taken_at, taken_at, value FROM store.reading
                   WHERE meter_id = %s ORDER BY taken_at DESC OFFSET 30 LIMIT 1
                   ON CONFLICT (meter_id, channel, rule, from_at) DO UPDATE SET found = excluded.found RETURNING id""",
                (meter_id,),
            ).fetchone()
        assert row is not None
        return row[0]


@pytest.fixture(scope="module")
def site(server_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """The estate, served by `gatemeter web run`."""
    bundle(WEB)
    name = f"gm_browser_{secrets.token_hex(6)}"
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        conn.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template_database))
        )
    owner_dsn = make_conninfo(server_dsn, dbname=name)
    keys_file = tmp_path_factory.mktemp("web") / "keys.json"
    keys = Keys.generate()
    keys.save(keys_file)
    try:
        # In a thread of its own: a browser that runs already keeps an event loop in this one.
        with ThreadPoolExecutor(1) as thread:
            estate = thread.submit(asyncio.run, make_estate(owner_dsn, keys, datetime.now(UTC))).result()
        with web_process(owner_dsn, keys_file) as url:
            yield Site(url, estate, owner_dsn)
    finally:
        with psycopg.connect(server_dsn, autocommit=True) as conn:
            conn.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of a module."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield launched
        launched.close()


class Visitor:
    """A signed-in browser window. Whatever the console or the content policy complains about is kept."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._url = url
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", lambda answer: self._on_status(answer.url, answer.status))

    def sign_in(self, login: str) -> None:
        """Through the form."""
        self.page.goto(f"{self._url}/login")
        self.page.fill("#login", login)
        self.page.fill("#password", PASSWORD)
        self.page.click("button.btn-primary")
        self.page.wait_for_load_state("networkidle")

    def speak(self, tag: str) -> None:
        """Changes the language with the switch."""
        self.page.evaluate(
            "tag => document.querySelector(`form[action='/locale'] button[value='${tag}']`).click()", tag
        )
        self.page.locator(f"html[lang='{tag}']").wait_for(state="attached")
        self.page.wait_for_load_state("networkidle")

    def open(self, path: str) -> Page:
        """Loads a page and waits until its charts are drawn."""
        self.page.goto(f"{self._url}{path}")
        pending = "[data-chart-url]:not([data-chart-drawn]):not(:has(.chart-message))"
        self.page.locator(pending).first.wait_for(state="detached")
        return self.page

    def picture(self, name: str) -> None:
        """Keeps what the window shows, for people."""
        _SCREENSHOTS.mkdir(exist_ok=True)
        self.page.screenshot(path=_SCREENSHOTS / f"{name}.png", full_page=True)

    def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        width: int = self.page.evaluate(
            "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
        )
        return width

    def crushed(self) -> list[str]:
        """Buttons that are too narrow for what is written on them."""
        texts: list[str] = self.page.evaluate(
            """() => [...document.querySelectorAll("main .btn, form .btn")]
                .filter(button => button.checkVisibility({contentVisibilityAuto: true}))
                .filter(button => button.scrollWidth > button.clientWidth + 1)
                .map(button => button.innerText || button.outerHTML)"""
        )
        return texts

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_status(self, url: str, status: int) -> None:
        if status >= 400:
            self.complaints.append(f"{status} {url}")


@contextmanager
def visiting(
    browser: Browser, site: Site, login: str, width: int = 1440, height: int = 900, *, dark: bool = False
) -> Iterator[Visitor]:
    """A visitor in a window of its own; fails when anything was complained about."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale="zh-CN", color_scheme="dark" if dark else "light"
    )
    context.set_default_timeout(15_000)
    try:
        visitor = Visitor(context.new_page(), site.url)
        try:
            visitor.sign_in(login)
            yield visitor
        finally:
            # Also after another failure: what the browser complained about usually explains it.
            assert visitor.complaints == []
    finally:
        context.close()
