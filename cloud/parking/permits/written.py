"""Numbers of spaces as people write them one after the other. Pure."""

import re
from typing import Final

_BETWEEN: Final = re.compile(r"[,;/+&，、；\n]")


def numbers_in(text: str) -> list[str]:
    """The numbers, each once, in their order; blanks belong to a number."""
    parts = (part.strip() for part in _BETWEEN.split(text))
    return list(dict.fromkeys(part for part in parts if part))


def without(text: str, number: str) -> str:
    """The text without a number that is written in it; as it was when it is not there as one between commas."""
    named = numbers_in(text)
    left = [one for one in named if one.lower() != number.lower()]
    return text if left == named else ", ".join(left)
