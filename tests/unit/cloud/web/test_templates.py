"""Templates compile, name icons that exist, and bring no script of their own."""

import re
from decimal import Decimal

import pytest

from cloud.kit import i18n
from cloud.web.shell import STATIC, TEMPLATES, WEB, environment, show_percent, show_usage

_ICONS = set((WEB / "icons.txt").read_text("utf-8").split())
_TEMPLATES = sorted(path.relative_to(TEMPLATES).as_posix() for path in TEMPLATES.rglob("*.html"))


@pytest.mark.parametrize("name", _TEMPLATES)
def test_template_compiles(name: str) -> None:
    environment().get_template(name)


@pytest.mark.parametrize("name", _TEMPLATES)
def test_icons_are_in_the_sprite(name: str) -> None:
    named = re.findall(r'\bicon\("([a-z0-9-]+)"', (TEMPLATES / name).read_text("utf-8"))
    assert set(named) <= _ICONS


@pytest.mark.parametrize("name", _TEMPLATES)
def test_no_inline_script_and_no_foreign_address(name: str) -> None:
    text = (TEMPLATES / name).read_text("utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)|\son[a-z]+=|javascript:", text)
    assert not re.search(r'(?:src|href|action)="(?:https?:)?//', text)


def test_own_scripts_load_nothing_from_elsewhere() -> None:
    for script in STATIC.glob("*.js"):
        assert "://" not in script.read_text("utf-8")


def test_registers_show_every_digit_and_usages_are_rounded() -> None:
    assert i18n.show_register(98_353_479, "energy_import_total") == "98,353.479 kWh"
    assert i18n.show_register(1, 70) == "0.000001 m³"
    assert show_usage(1_250, "energy_import_total") == "1.2 kWh"


def test_prices_lose_only_their_zeros() -> None:
    assert i18n.show_plain(Decimal("0.48830000")) == "0.4883"
    assert i18n.show_plain(Decimal("240.000000")) == "240"


def test_percentage_of_nothing_is_unknown() -> None:
    assert show_percent(1, 0) is None
    assert show_percent(1, 3) == "33.3%"


def test_macros_of_the_frame_hide_nothing_that_pages_pass() -> None:
    """A macro of the frame would stand for what a page passes by the same name."""
    names = re.findall(r"{% macro (\w+)\(", (TEMPLATES / "page.html").read_text("utf-8"))
    assert names
    assert [name for name in names if not name.startswith(("nav_", "account_menu"))] == []
