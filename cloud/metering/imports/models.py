"""What the API of imports of readings takes and gives."""

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import UploadFile
from pydantic import BaseModel, Field

from cloud.kit.inputs import Input, ListQuery, PageQuery
from cloud.metering.imports.judging import shown
from cloud.metering.imports.records import (
    ImportFilter,
    ImportRow,
    Kind,
    Outcome,
    ReadingImport,
    RowFilter,
    Stamped,
    State,
)
from cloud.metering.imports.service import PART, Content
from gateway.contract.quantities import BY_NUMBER

Reason = Annotated[str, Field(min_length=1, max_length=500, examples=["Read twice, the meter ran backward"])]
Line = Annotated[int, Field(ge=1, le=2**31 - 1, examples=[17])]
MOST_LINES = 10_000


async def content_of_upload(file: UploadFile) -> Content:
    """The content of an uploaded file, which lies on the disk when it is large."""

    async def parts() -> AsyncIterator[bytes]:
        await file.seek(0)
        while part := await file.read(PART):
            yield part

    size, digest = 0, hashlib.sha256()
    async for part in parts():
        size += len(part)
        digest.update(part)
    return Content(digest.digest(), size, parts)


class ImportQuery(ListQuery):
    """Which imports are wanted."""

    state: State | None = None
    kind: Kind | None = None

    def wanted(self) -> ImportFilter:
        """The same as the service knows it."""
        return ImportFilter(self.project_id, self.state, self.kind)


class RowQuery(PageQuery):
    """Which rows of an import are wanted; `not_stored`: those that are not in the store."""

    outcome: Outcome | None = None
    code: Annotated[str, Field(max_length=64)] | None = None
    not_stored: bool = False

    def wanted(self) -> RowFilter:
        """The same as the service knows it."""
        return RowFilter(self.outcome, self.code, self.not_stored)


class ImportOut(BaseModel):
    """A file of readings and how far its import is. `counts`: rows by outcome."""

    id: int
    project_id: int
    file_name: Annotated[str, Field(examples=["march.xlsx"])]
    sha256: Annotated[str, Field(examples=["9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"])]
    size: int
    kind: Kind
    stamped: Stamped
    interval_s: int | None
    opening: Annotated[str, Field(description="Empty: 0.", examples=["1234.5"])]
    time_zone: Annotated[str, Field(description="Of times without an offset; empty: the project's.", examples=["UTC"])]
    dry_run: bool
    state: State
    rows: int
    answered: int
    counts: Annotated[dict[str, int], Field(examples=[{"stored": 2999, "refused": 1}])]
    error_code: str
    error: str
    actor: str
    created_at: datetime
    finished_at: datetime | None

    @classmethod
    def of(cls, found: ReadingImport) -> Self:
        """From the record."""
        fields: dict[str, Any] = {name: getattr(found, name) for name in cls.model_fields}
        return cls(**{**fields, "sha256": found.sha256.hex(), "counts": dict(found.counts)})


class RowOut(BaseModel):
    """A row of the file, its answer, and what it was understood to say. Quantities carry their unit."""

    line: int
    cells: Annotated[list[str], Field(examples=[["E1", "2026-01-31 08:00", "1234.5"]])]
    outcome: Outcome
    code: str
    field: str
    detail: str
    meter_id: int | None
    channel: str | None
    taken_at: datetime | None
    until_at: datetime | None
    value: Annotated[str | None, Field(examples=["1234.500 kWh"])]
    register_value: Annotated[str | None, Field(description="Where the register stands at the end of an interval.")]
    confirmed: str
    confirmer: str

    @classmethod
    def of(cls, row: ImportRow) -> Self:
        """From the record."""
        channel = row.channel
        return cls(
            line=row.line,
            cells=list(row.raw),
            outcome=row.outcome,
            code=row.code,
            field=row.field,
            detail=row.detail,
            meter_id=row.meter_id,
            channel=None if channel is None else BY_NUMBER[channel].code,
            taken_at=row.taken_at,
            until_at=row.until_at,
            value=None if channel is None or row.value is None else shown(row.value, channel),
            register_value=None if channel is None or row.register is None else shown(row.register, channel),
            confirmed=row.confirmed,
            confirmer=row.confirmer,
        )


class ConfirmationIn(Input):
    """Why rows are right although they look wrong: of these lines, or of this code, or all that wait."""

    reason: Reason
    code: Annotated[str, Field(max_length=64, examples=["backward"])] | None = None
    lines: Annotated[list[Line], Field(min_length=1, max_length=MOST_LINES)] | None = None


class OnceMoreIn(Input):
    """Whether a file that was imported already is imported once more."""

    again: bool = False
