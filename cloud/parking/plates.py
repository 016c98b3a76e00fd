"""Number plates as they are compared: capital letters and digits of any script, nothing else."""

from typing import Annotated

from pydantic import Field

from cloud.kit.errors import InvalidInput
from gateway.contract.limits import MAX_PLATE_CHARS

MIN_PLATE_CHARS = 2

PlateText = Annotated[str, Field(min_length=1, max_length=64, examples=["京A·12345"])]
"""A plate as somebody types it; `valid_plate` says whether it is one."""


def bare_plate(text: str) -> str:
    """Letters and digits of `text` in capitals; cameras and people differ in dots, dashes and spaces."""
    return "".join(char for char in text.upper() if char.isalnum())[:MAX_PLATE_CHARS]


def valid_plate(text: str) -> str:
    """The plate that a person typed, as it is compared. Raises InvalidInput."""
    if len(text) > 4 * MAX_PLATE_CHARS or any(not char.isalnum() and char not in " .·•-" for char in text):
        raise InvalidInput("bad-plate", "expected letters and digits, with spaces, dots or dashes", field="plate")
    plate = "".join(char for char in text.upper() if char.isalnum())
    if not MIN_PLATE_CHARS <= len(plate) <= MAX_PLATE_CHARS:
        detail = f"expected {MIN_PLATE_CHARS} to {MAX_PLATE_CHARS} letters and digits, got {len(plate)}"
        raise InvalidInput("bad-plate", detail, field="plate")
    return plate
