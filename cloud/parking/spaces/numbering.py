"""Numbers of spaces from the first to the last: B1-001 to B1-250. Pure."""

import re
from typing import Final

from cloud.kit.errors import InvalidInput
from cloud.parking.spaces.records import MAX_NUMBER

MOST: Final = 5_000
"""Spaces that are made at once."""
_PARTS: Final = re.compile(r"(?P<head>.*?)(?P<count>\d{1,9})(?P<tail>\D*)", re.ASCII)
_ALLOWED: Final = re.compile(r"\S(.*\S)?")


def valid_number(text: str) -> str:
    """A number as somebody typed it, without the blanks around it. Raises InvalidInput."""
    number = text.strip()
    if not _ALLOWED.fullmatch(number) or len(number) > MAX_NUMBER or not number.isprintable():
        detail = f"expected 1 to {MAX_NUMBER} characters, found {text[:40]!r}"
        raise InvalidInput("bad-space-number", detail, field="number")
    return number


def numbers_between(first: str, last: str) -> list[str]:
    """All numbers from `first` to `last`, which differ in their last group of digits alone.

    All have at least as many digits as the first: `001` to `250`, `8` to `12`. Raises InvalidInput.
    """
    start, end = _PARTS.fullmatch(valid_number(first)), _PARTS.fullmatch(valid_number(last))
    if start is None or end is None or (start["head"], start["tail"]) != (end["head"], end["tail"]):
        detail = f"expected two numbers like B1-001 and B1-250, found {first[:40]!r} and {last[:40]!r}"
        raise InvalidInput("bad-space-range", detail, field="last")
    low, high = int(start["count"]), int(end["count"])
    width = len(start["count"])
    if end["count"] != f"{high:0{width}}":
        raise InvalidInput("bad-space-range", "expected as many digits in both numbers", field="last")
    if not low <= high < low + MOST:
        raise InvalidInput("bad-space-range", f"expected the last after the first, at most {MOST} spaces", field="last")
    return [f"{start['head']}{count:0{width}}{start['tail']}" for count in range(low, high + 1)]
