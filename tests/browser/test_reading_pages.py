"""Readings in a real browser: typed in on a phone, a round row by row, a photo shrunk, handed in and accepted."""

import struct
import zlib
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.browser.conftest import Site, Visitor, visiting
from tests.browser.estate import RESIDENT, STAFF

pytestmark = pytest.mark.browser

_SIZES = pytest.mark.parametrize(("width", "height"), [(1280, 800), (390, 844)], ids=["desktop", "phone"])


def _looks_well(visitor: Visitor, name: str) -> None:
    visitor.picture(name)
    assert visitor.overflow() == 0, f"{name} is wider than the window"
    assert visitor.crushed() == [], name


def _large_picture(path: Path) -> Path:
    """A PNG of 2400 × 1800 dots of noise, far above what the server takes."""
    width, height = 2400, 1800

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    rows = b"".join(b"\0" + bytes((x * y + x) % 251 for x in range(width)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    content = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows, 0)) + chunk(b"IEND", b"")
    )
    path.write_bytes(content)
    return path


@_SIZES
def test_staff_type_readings_in(browser: Browser, site: Site, width: int, height: int) -> None:
    meter = site.estate.meters[0]
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open(f"/meters/{meter.id}/new-reading")
        _looks_well(visitor, f"staff-reading-en-{width}")
        page.fill("[name=value]", "0.001")
        visitor.follow("button:has-text('Store the reading')")
        page.locator(".alert-warning").wait_for()
        _looks_well(visitor, f"staff-reading-asked-en-{width}")
        page = visitor.open("/reading-round?since=2099-01-01")
        _looks_well(visitor, f"staff-round-en-{width}")
        row = page.locator(f"#row-{meter.id}")
        row.locator("[name=value]").fill("0.001")
        row.locator("button").click()
        row.locator(".alert-warning").wait_for()
        assert page.url.endswith("/reading-round?since=2099-01-01")
        _looks_well(visitor, f"staff-round-asked-en-{width}")
        page.evaluate("() => window.scrollTo(0, 0)")


@_SIZES
def test_a_photo_goes_from_the_resident_to_the_queue(
    browser: Browser, site: Site, width: int, height: int, tmp_path: Path
) -> None:
    picture = _large_picture(tmp_path / "meter.png")
    assert picture.stat().st_size > 2 * 1024 * 1024
    with visiting(browser, site, RESIDENT, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/my/readings")
        page.fill("[name=value]", "0.001")
        page.fill("[name=note]", f"on a window of {width}")
        page.set_input_files("[name=photo]", picture)
        page.locator("[data-shrunk]").wait_for()
        visitor.follow("button:has-text('Hand in')")
        page.locator(".alert-success").wait_for()
        _looks_well(visitor, f"resident-readings-en-{width}")
    with visiting(browser, site, STAFF, width, height) as visitor:
        visitor.speak("en")
        page = visitor.open("/reading-submissions")
        _looks_well(visitor, f"staff-submissions-en-{width}")
        visitor.follow("a:has-text('Look')")
        page.locator("img.reading-photo").wait_for()
        assert page.evaluate("() => document.querySelector('img.reading-photo').naturalWidth") == 1600
        _looks_well(visitor, f"staff-submission-en-{width}")
        page.fill("[name=reason]", "this is the date")
        visitor.follow("button:has-text('Reject')")
        page.locator(".alert-success").wait_for()
        assert "this is the date" in page.locator("main").inner_text()
