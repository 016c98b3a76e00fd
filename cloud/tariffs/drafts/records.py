"""A tariff version in the making."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from cloud.tariffs.files.checking import Document

DraftState = Literal["draft", "submitted", "rejected", "withdrawn", "published"]


@dataclass(frozen=True, slots=True)
class Draft:
    """A draft: `content` may have mistakes; `author` changed it last, `authors` are all who wrote something of it.

    `version_id` is what it was published as.
    """

    id: int
    project_id: int
    code: str
    name: str
    valid_from: date
    content: Document
    state: DraftState
    revision: int
    copied_from: int | None
    author: int | None
    authors: frozenset[int]
    author_name: str | None
    decided_by: int | None
    decided_at: datetime | None
    reason: str
    version_id: int | None
    created_at: datetime
    changed_at: datetime

    @property
    def editable(self) -> bool:
        """Whether its content can be changed."""
        return self.state in ("draft", "rejected")


@dataclass(frozen=True, slots=True)
class NewDraft:
    """What a draft begins with."""

    project_id: int
    code: str
    name: str
    valid_from: date
    content: Document
    copied_from: int | None = None
