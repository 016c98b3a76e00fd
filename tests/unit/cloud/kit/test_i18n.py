"""Which language a request gets, and how values look in it."""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit import i18n

TAGS = ["en", "zh-CN", "de"]

CATALOGUE = """
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Language: zh_CN\\n"
"Plural-Forms: nplurals=1; plural=0;\\n"

msgid "Bill"
msgstr "账单"

msgid "one car"
msgid_plural "%(num)d cars"
msgstr[0] "%(num)d 辆车"
"""


@pytest.fixture
def catalogues(tmp_path: Path) -> Mapping[str, i18n.Translator]:
    """English and Chinese."""
    folder = tmp_path / "zh_CN" / "LC_MESSAGES"
    folder.mkdir(parents=True)
    (folder / "messages.po").write_text(CATALOGUE, "utf-8")
    return i18n.load_catalogues(tmp_path)


@pytest.mark.parametrize(
    ("wanted", "accept", "expected"),
    [
        ((None, None), "", "en"),
        (("zh-CN", "de"), "de", "zh-CN"),
        ((None, "de"), "zh-CN", "de"),
        ((None, "xx"), "zh-TW", "zh-CN"),
        ((None, None), "fr, de;q=0.3, zh;q=0.9", "zh-CN"),
        ((None, None), "de;q=0, zh;q=0.1", "zh-CN"),
        ((None, None), "fr;q=1, *;q=0.5", "en"),
        ((None, None), "de;q=abc, ;;;,=,", "en"),
        ((None, "ZH_cn"), "", "zh-CN"),
    ],
)
def test_user_then_cookie_then_browser(wanted: tuple[str | None, ...], accept: str, expected: str) -> None:
    assert i18n.negotiate(TAGS, *wanted, accept_language=accept) == expected


@given(st.text())
def test_no_header_breaks_the_negotiation(header: str) -> None:
    assert i18n.negotiate(TAGS, header, accept_language=header) in TAGS


def test_messages_and_plurals(catalogues: Mapping[str, i18n.Translator]) -> None:
    assert sorted(catalogues) == ["en", "zh-CN"]
    chinese = catalogues["zh-CN"]
    with i18n.speaking(chinese):
        assert i18n.gettext("Bill") == "账单"
        assert i18n.gettext("Unknown") == "Unknown"
        assert i18n.gettext("") == ""
        assert i18n.ngettext("one car", "%(num)d cars", 3) == "%(num)d 辆车"
    assert i18n.gettext("Bill") == "Bill"
    assert i18n.ngettext("one car", "%(num)d cars", 1) == "one car"


def test_values_look_as_people_write_them(catalogues: Mapping[str, i18n.Translator]) -> None:
    instant = datetime(2026, 1, 31, 16, 30, tzinfo=UTC)
    zone = ZoneInfo("Asia/Shanghai")
    with i18n.speaking(catalogues["zh-CN"]):
        assert i18n.show_money(Decimal("1234.50"), "CNY") == "¥1,234.50"
        assert i18n.show_date(date(2026, 2, 1)) == "2026年2月1日"
        assert i18n.show_month(date(2026, 2, 1)) == "2026年2月"
        assert "00:30" in i18n.show_time(instant, zone)
    assert i18n.show_number(Decimal("1234567.8900")) == "1,234,567.8900"
    assert i18n.show_number(Decimal("0.125"), 1) == "0.1"
    assert i18n.show_number(12) == "12"
    assert i18n.show_money(Decimal("0.01"), "CNY") == "¥0.01"
    assert i18n.show_money(Decimal("-42423.39"), "CNY") == "-¥42,423.39"
    assert i18n.show_money(Decimal(12), "JPY") == "JP¥12"
    assert i18n.show_money(Decimal("0.01"), "EUR") == "€0.01"


def test_a_price_has_all_of_its_decimals() -> None:
    assert i18n.show_price(Decimal("0.4883"), "CNY") == "¥0.4883"
    assert i18n.show_price(Decimal("7.0000"), "CNY") == "¥7.00"
    assert i18n.show_price(Decimal(1200), "JPY") == "JP¥1,200"


def test_languages_call_themselves_by_their_own_name() -> None:
    assert i18n.language_name("zh-CN") == "中文"
    assert i18n.language_name("en") == "English"
    assert i18n.language_name("no such") == "no such"
