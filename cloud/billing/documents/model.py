"""What a bill as a document says: finished texts in one language, which templates only lay out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Language = Literal["zh-CN", "en"]

Cells = tuple[str, str, str, str]
"""What for, quantity, price, amount."""


@dataclass(frozen=True, slots=True)
class Fact:
    """A named fact of the head: account, period, due date."""

    name: str
    value: str


@dataclass(frozen=True, slots=True)
class Sum:
    """A row under the charges; `strong` ones are what the reader looks for."""

    name: str
    amount: str
    strong: bool = False


@dataclass(frozen=True, slots=True)
class Block:
    """One charge: its readings, its lines, what they follow from, and what they add up to."""

    title: str
    period: str
    readings: str
    lines: tuple[Cells, ...]
    subtotal: Sum
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Pay:
    """How to pay; `address` is what the code leads to, None where people cannot reach the service."""

    title: str
    sentences: tuple[str, ...]
    address: str | None


@dataclass(frozen=True, slots=True)
class BillDocument:
    """A whole bill. `made_at` is its date as a file: the same bill is the same bytes whenever it is written.

    `online`: where it is seen, once it is issued and where people can reach the service.
    """

    language: Language
    file_name: str
    made_at: datetime
    title: str
    watermark: str
    project: str
    address: str
    facts: tuple[Fact, ...]
    columns: Cells
    blocks: tuple[Block, ...]
    sums: tuple[Sum, ...]
    pay: Pay | None
    footer: str
    online: str | None = None
