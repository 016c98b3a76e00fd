"""Plates that a camera may take for one another. Pure.

Signs that look alike form groups; a plate in which each sign stands for its group is the plate's *skeleton*. Plates
with one skeleton may be misreadings of one another, others are told apart by cameras. A group is closed (whoever looks
like a member looks like all), so that plates fall into classes and nobody has to search for neighbours.
"""

from typing import Final

_GROUPS: Final = (
    "0ODQ", "1IL", "2Z", "5S", "6G", "7T", "8B", "UV", "MN", "EF",
    # Provinces: with the water radical; with a dot on a roof; with a sun below.
    "沪津渝浙湘", "京宁", "晋鲁",
)  # fmt: skip

FROM: Final = "".join(group[1:] for group in _GROUPS)
INTO: Final = "".join(group[0] * (len(group) - 1) for group in _GROUPS)
"""As `translate()` of PostgreSQL takes them: migration 0047 computes the same in the database."""

_TABLE: Final = str.maketrans(FROM, INTO)

TICKET_SIGN: Final = "#"
"""Begins what stands for the plate of a vehicle without one: no camera reads it, and tickets look like nothing else."""


def skeleton(plate: str) -> str:
    """The plate with each sign replaced by that of its group; a ticket is its own."""
    return plate if plate.startswith(TICKET_SIGN) else plate.translate(_TABLE)


def confusable(one: str, other: str) -> bool:
    """Whether a camera may have read one for the other: exactly one sign differs, and the two look alike."""
    return skeleton(one) == skeleton(other) and sum(a != b for a, b in zip(one, other, strict=True)) == 1


def one_edit_apart(one: str, other: str) -> bool:
    """Whether one sign changed, left out or added makes the one the other (edit distance 1)."""
    if one == other or abs(len(one) - len(other)) > 1:
        return False
    shorter, longer = sorted((one, other), key=len)
    start = next((index for index, (a, b) in enumerate(zip(shorter, longer, strict=False)) if a != b), len(shorter))
    rest = shorter[start + 1 :] if len(shorter) == len(longer) else shorter[start:]
    return rest == longer[start + 1 :]
