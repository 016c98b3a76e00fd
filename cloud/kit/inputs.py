"""What the API takes, whatever the feature: ids, days, instants, pages; what no column can keep is refused."""

from collections.abc import Iterable
from datetime import UTC, date, datetime
from typing import Annotated, Any, Generic, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, field_validator

from cloud.kit.paging import MAX_LIMIT, PageRequest, page_request

Item = TypeVar("Item", bound=BaseModel)

Id = Annotated[int, Field(ge=1, le=2**63 - 1, examples=[1])]

# Beyond these bounds a local time has no instant in UTC that Python can hold, and no meter has ever been read there.
Day = Annotated[date, Field(ge=date(1900, 1, 1), le=date(2199, 12, 31), examples=["2026-01-01"])]
"""A local date of the project."""
Instant = Annotated[
    AwareDatetime,
    Field(
        ge=datetime(1900, 1, 1, tzinfo=UTC),
        le=datetime(2199, 12, 31, tzinfo=UTC),
        examples=["2026-01-01T08:00:00+08:00"],
    ),
]
"""A time with its offset."""


class Input(BaseModel):
    """Base of everything that comes in: unknown keys and NUL characters are refused."""

    model_config = ConfigDict(extra="forbid")

    @field_validator("*", mode="before")
    @classmethod
    def _without_nul(cls, value: Any) -> Any:
        if any("\0" in text for text in _texts(value)):
            raise ValueError("expected text without NUL characters")
        return value


def _texts(value: object) -> Iterable[str]:
    """The texts of a value and of the lists and dictionaries right in it; models inside look for themselves."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for pair in value.items() for text in pair if isinstance(text, str)]
    return [text for text in value if isinstance(text, str)] if isinstance(value, list | tuple) else []


class PageQuery(Input):
    """Which page is wanted."""

    limit: Annotated[int, Field(ge=1, le=MAX_LIMIT, examples=[50])] | None = None
    cursor: Annotated[str, Field(max_length=2000, description="`next_cursor` of the page before.")] | None = None

    def page(self, key_length: int = 1) -> PageRequest:
        """The same as the services know it. Raises InvalidInput."""
        return page_request(self.limit, self.cursor, key_length=key_length)


class ListQuery(PageQuery):
    """Which page is wanted, and of which project: another one's list is empty."""

    project_id: Id | None = None


class Listed(BaseModel, Generic[Item]):
    """A page of a list."""

    items: list[Item]
    next_cursor: Annotated[str | None, Field(description="Null on the last page.")]
