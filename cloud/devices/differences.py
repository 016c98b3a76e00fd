"""What changed between two texts, line by line. Pure."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

_AROUND: Final = 3
_MOST_LINES: Final = 4_000
"""Comparing costs the product of the lengths at worst: longer texts are shown as replaced."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a comparison; a `place` tells where the next ones are."""

    kind: Literal["place", "same", "gone", "new"]
    text: str


_KINDS: Final[Mapping[str, Literal["same", "gone", "new"]]] = {" ": "same", "-": "gone", "+": "new"}


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[Line]:
    """The lines that differ in each file of two sets, with some around them; nothing when all is the same."""
    found: list[Line] = []
    for name in sorted({*old, *new}):
        found += _of_one(name, old.get(name, "").splitlines(), new.get(name, "").splitlines())
    return found


def _of_one(name: str, old: Sequence[str], new: Sequence[str]) -> list[Line]:
    if old == new:
        return []
    if len(old) > _MOST_LINES or len(new) > _MOST_LINES:
        return [Line("place", name), *(Line("gone", text) for text in old), *(Line("new", text) for text in new)]
    lines = list(difflib.unified_diff(old, new, lineterm="", n=_AROUND))[2:]
    return [
        Line("place", f"{name} {text}") if text.startswith("@@") else Line(_KINDS[text[0]], text[1:]) for text in lines
    ]
