"""Amounts, minutes and times of day as people type them, made into what a rule says. Pure.

What is not understood stays as it was typed: reading the rule then says what is wrong with it.
"""

import re
import unicodedata
from typing import Final

_SIGNS: Final = re.compile(r"[¥€$£元]|CNY|RMB|EUR|USD|GBP", re.IGNORECASE)
_THOUSANDS: Final = re.compile(r"\d{1,3}(,\d{3})+(\.\d*)?", re.ASCII)
_DECIMAL_COMMA: Final = re.compile(r"\d+,\d{1,2}", re.ASCII)
_NUMBER: Final = re.compile(r"(\d*)(?:\.(\d*))?", re.ASCII)
_CLOCK: Final = re.compile(r"(\d{1,2})(?::(\d{2}))?", re.ASCII)
_LENGTH: Final = re.compile(
    r"(?:(\d{1,4})(?:d|天|日))?(?:(\d{1,6})(?:h|hours?|小时|小時|时|時))?(?:(\d{1,7})(?:min|minutes?|m|分钟|分鐘|分)?)?",
    re.ASCII | re.IGNORECASE,
)


def amount(text: str) -> str:
    """`¥5`, `5元`, `5,50`, `1,234.50`, `５。00` as an amount of a rule: `5`, `5`, `5.50`, `1234.50`, `5.00`."""
    plain = _SIGNS.sub("", _plain(text)).strip()
    if _THOUSANDS.fullmatch(plain):
        plain = plain.replace(",", "")
    elif _DECIMAL_COMMA.fullmatch(plain):
        plain = plain.replace(",", ".")
    found = _NUMBER.fullmatch(plain)
    if found is None or not any(found.groups()):
        return text
    whole, part = found.groups()
    return (whole or "0") + (f".{part}" if part else "")


def minutes(text: str) -> int | str:
    """`90`, `1 h 30 min`, `1小时30分`, `2d` as minutes."""
    plain = _plain(text).replace(" ", "")
    found = _LENGTH.fullmatch(plain)
    if not plain or found is None:
        return text
    days, hours, rest = (int(part or 0) for part in found.groups())
    return (days * 24 + hours) * 60 + rest


def whole(text: str) -> int | str:
    """A whole number."""
    plain = _plain(text)
    return int(plain) if plain.isascii() and plain.isdecimal() and len(plain) < 8 else text


def clock(text: str) -> str:
    """`8`, `8:00`, `８：００` as `08:00`."""
    found = _CLOCK.fullmatch(_plain(text).replace(" ", ""))
    return text if found is None else f"{int(found[1]):02}:{found[2] or '00'}"


def code(text: str) -> str:
    """The code of a class of vehicles: small letters, no blanks around it."""
    return _plain(text).lower()


def _plain(text: str) -> str:
    """Signs of full width as those of half width, and the full stop of Chinese as a point."""
    return unicodedata.normalize("NFKC", text).replace("。", ".").strip()
