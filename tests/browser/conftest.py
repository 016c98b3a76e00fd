"""The web process on a real port over a small estate, and a browser that reports every complaint it has.

Estate, process and browser are made once and serve all files of this folder. Each file finds the estate as it was
made: the database is copied anew beneath the running process, and copying it takes a tenth of a second.
"""

import asyncio
import os
import secrets
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, sync_playwright
from psycopg.conninfo import make_conninfo

from cloud.identity.guards import SESSION_COOKIE
from cloud.kit.security import Keys
from cloud.web.bundle import bundle
from cloud.web.shell import WEB
from tests.browser.estate import PASSWORD, RESIDENT, STAFF, Estate, make_estate, sign_in
from tests.databases import close_database, copy_database, drop_database
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
_EVERY = os.environ.get("GATEMETER_BROWSER") == "every"
_HERE = Path(__file__).parent
_SCREENSHOTS = Path(__file__).parents[2] / ".screenshots"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What people do on pages is tried on a phone and in Chinese; with GATEMETER_BROWSER=every at all sizes, in both.

    Each takes ten seconds and more. Every page is looked at in every size and language all the same, by `test_pages`.
    """
    if _EVERY:
        return
    left_out = [one for one in items if one.path.parent == _HERE and _is_a_variant(one)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [one for one in items if one not in left_out]


def _is_a_variant(item: pytest.Item) -> bool:
    if item.path.name == "test_pages.py" or not isinstance(item, pytest.Function) or not hasattr(item, "callspec"):
        return False
    return bool({"desktop", "en"} & set(item.callspec.id.split("-")))


Size = tuple[int, int]
"""Width and height of a window, in pixels."""


@dataclass(frozen=True, slots=True)
class Site:
    """A running web process and the estate it shows."""

    url: str
    estate: Estate
    owner_dsn: str
    sessions: Mapping[str, str]
    """What the cookies of those who are signed in hold, by login."""

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


@dataclass(frozen=True, slots=True)
class Furnished:
    """A database that is only copied, with the estate in it and everybody signed in; `sessions` by login."""

    name: str
    estate: Estate
    sessions: Mapping[str, str]
    keys_file: Path


@pytest.fixture(scope="package")
def furnished(server_dsn: str, template_database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Furnished]:
    """The estate, made once."""
    name = f"gm_estate_{secrets.token_hex(6)}"
    keys_file = tmp_path_factory.mktemp("web") / "keys.json"
    keys = Keys.generate()
    keys.save(keys_file)
    copy_database(server_dsn, template_database, name)
    owner_dsn = make_conninfo(server_dsn, dbname=name)
    # In a thread of its own: a browser that runs already keeps an event loop in this one.
    with ThreadPoolExecutor(1) as thread:
        estate = thread.submit(asyncio.run, make_estate(owner_dsn, keys, datetime.now(UTC))).result()
        sessions = thread.submit(asyncio.run, sign_in(owner_dsn, STAFF, RESIDENT)).result()
    close_database(server_dsn, name)
    yield Furnished(name, estate, sessions, keys_file)
    drop_database(server_dsn, name)


@pytest.fixture(scope="package")
def served(server_dsn: str, furnished: Furnished) -> Iterator[tuple[str, str]]:
    """Address of `gatemeter web run`, and the name of the database that it works with."""
    bundle(WEB)
    name = f"gm_browser_{secrets.token_hex(6)}"
    copy_database(server_dsn, furnished.name, name)
    with web_process(make_conninfo(server_dsn, dbname=name), furnished.keys_file) as url:
        yield url, name
    drop_database(server_dsn, name)


def renewed(server_dsn: str, furnished: Furnished, served: tuple[str, str]) -> Site:
    """The estate as it was made, beneath the running process."""
    url, name = served
    drop_database(server_dsn, name)
    copy_database(server_dsn, furnished.name, name)
    return Site(url, furnished.estate, make_conninfo(server_dsn, dbname=name), furnished.sessions)


@pytest.fixture(scope="module")
def site(server_dsn: str, furnished: Furnished, served: tuple[str, str]) -> Site:
    """The estate, served. What one file does to it, the next does not see."""
    return renewed(server_dsn, furnished, served)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """One Chromium for all tests of this folder; not longer, as its event loop would be in the way of other tests."""
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=_CHROMIUM, args=_ARGUMENTS)
        yield launched
        launched.close()


class Visitor:
    """A signed-in browser window. Whatever the console or the content policy complains about is kept."""

    def __init__(self, page: Page, site: Site, login: str) -> None:
        self.page = page
        self.complaints: list[str] = []
        self._site, self._url, self._login = site, site.url, login
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("response", lambda answer: self._on_status(answer.url, answer.status))

    def speak(self, tag: str) -> None:
        """From here on he gets pages in this language."""
        with psycopg.connect(self._site.owner_dsn) as conn:
            conn.execute("UPDATE app_user SET locale = %s WHERE login = %s", (tag, self._login))

    def sign_in(self) -> None:
        """Through the form."""
        self.page.goto(f"{self._url}/login")
        self.page.fill("#login", self._login)
        self.page.fill("#password", PASSWORD)
        self.follow("button.btn-primary")
        self.page.locator("main").wait_for()

    def switch_language(self, tag: str) -> None:
        """With the switch of the page that is open."""
        with self.page.expect_navigation():
            self.page.evaluate(
                "tag => document.querySelector(`form[action='/locale'] button[value='${tag}']`).click()", tag
            )
        self.page.locator(f"html[lang='{tag}']").wait_for(state="attached")

    def open(self, path: str) -> Page:
        """Loads a page and waits until its charts are drawn."""
        self.page.goto(f"{self._url}{path}")
        pending = "[data-chart-url]:not([data-chart-drawn]):not(:has(.chart-message))"
        self.page.locator(pending).first.wait_for(state="detached")
        return self.page

    def follow(self, link: str | Locator) -> Page:
        """Clicks a link, or the button of a form, and waits for the page it leads to.

        What is measured or filled in next is that page, not this one, which may look alike: one form after another
        answers that all is well.
        """
        with self.page.expect_navigation():
            (self.page.locator(link) if isinstance(link, str) else link).first.click()
        return self.page

    def resize(self, size: Size) -> None:
        """Gives the window another size and waits until the page, its charts included, has taken it."""
        width, height = size
        if self.page.viewport_size == {"width": width, "height": height}:
            return
        self.page.set_viewport_size({"width": width, "height": height})
        # The event of the new size comes before what the frame was asked for that first has it.
        self.page.evaluate(
            """width => new Promise(done => {
                const look = () => requestAnimationFrame(window.innerWidth === width ? done : look);
                requestAnimationFrame(look);
            })""",
            width,
        )

    def picture(self, name: str) -> None:
        """Keeps what the window shows, for people; in the long form only."""
        if not _EVERY:
            return
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
    """A visitor in a window of its own, signed in; fails when anything was complained about."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, locale="zh-CN", color_scheme="dark" if dark else "light"
    )
    context.set_default_timeout(60_000)
    context.add_cookies([{"name": SESSION_COOKIE, "value": site.sessions[login], "url": site.url, "httpOnly": True}])
    try:
        visitor = Visitor(context.new_page(), site, login)
        try:
            yield visitor
        finally:
            # Also after another failure: what the browser complained about usually explains it.
            assert visitor.complaints == []
    finally:
        context.close()
