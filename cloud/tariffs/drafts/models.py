"""What the API of tariff drafts takes and gives."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from cloud.kit.inputs import Day, Id, Input, ListQuery
from cloud.tariffs.drafts.differences import Difference
from cloud.tariffs.drafts.records import Draft, DraftState
from cloud.tariffs.files.checking import check
from cloud.tariffs.models import EXAMPLE

Content = Annotated[
    dict[str, Any], Field(examples=[EXAMPLE], description="What a tariff file says; may have mistakes in a draft.")
]
Code = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,63}$", examples=["beijing-electricity"])]
Name = Annotated[str, Field(min_length=1, max_length=200)]


class DraftIn(Input):
    """A draft: with content, or as a copy of a published version."""

    project_id: Id
    code: Code
    name: Name
    valid_from: Annotated[Day, Field(description="Local day on which it is to take over.")]
    content: Content


class DraftCopyIn(Input):
    """Which published version to copy into a new draft, and from when it is to hold."""

    version_id: Id
    valid_from: Day


class DraftChangeIn(Input):
    """What changes of a draft; `revision` is the one that was read."""

    revision: Annotated[int, Field(ge=1)]
    code: Code | None = None
    name: Name | None = None
    valid_from: Day | None = None
    content: Content | None = None


class RejectionIn(Input):
    """Why a draft is sent back."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class OwnApprovalIn(Input):
    """Whether people may approve tariffs that they wrote themselves."""

    project_id: Id
    allowed: bool


class DraftQuery(ListQuery):
    """Which drafts are wanted."""

    state: Literal["draft", "submitted", "rejected", "withdrawn", "published"] | None = None


class ProblemOut(BaseModel):
    """One mistake: its place in the content, the same in words, its code and what was expected."""

    field: str
    where: str
    code: str
    detail: str


class DraftOut(BaseModel):
    """A draft with all its mistakes; `version_id` is what it was published as."""

    id: int
    project_id: int
    code: str
    name: str
    valid_from: date
    content: Content
    problems: list[ProblemOut]
    state: DraftState
    revision: int
    copied_from: int | None
    author_id: int | None
    decided_by: int | None
    decided_at: datetime | None
    reason: str
    version_id: int | None
    changed_at: datetime

    @classmethod
    def of(cls, draft: Draft) -> "DraftOut":
        """From our records."""
        _, problems = check(draft.content)
        return cls(
            id=draft.id,
            project_id=draft.project_id,
            code=draft.code,
            name=draft.name,
            valid_from=draft.valid_from,
            content=draft.content,
            problems=[
                ProblemOut(field=one.name, where=one.where(draft.content), code=one.code, detail=one.sentence)
                for one in problems
            ],
            state=draft.state,
            revision=draft.revision,
            copied_from=draft.copied_from,
            author_id=draft.author,
            decided_by=draft.decided_by,
            decided_at=draft.decided_at,
            reason=draft.reason,
            version_id=draft.version_id,
            changed_at=draft.changed_at,
        )


class DifferenceOut(BaseModel):
    """One place that differs between two versions; null: nothing stands there."""

    field: str
    where: str
    old: str | None
    new: str | None

    @classmethod
    def of(cls, one: Difference) -> "DifferenceOut":
        """From our records."""
        return cls(field=".".join(map(str, one.place)), where=one.where, old=one.old, new=one.new)


class DifferencesOut(BaseModel):
    """What changes when a draft replaces a version."""

    items: list[DifferenceOut]
