"""What the API of the reports takes and gives."""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.inputs import ListQuery
from cloud.reports.work import JobFilter, JobState


class JobQuery(ListQuery):
    """Which jobs are wanted."""

    kind: Annotated[str, Field(max_length=100, examples=["billing.run"])] | None = None
    state: JobState | None = None

    def wanted(self) -> JobFilter:
        """The same as the services know it."""
        return JobFilter(self.project_id, self.kind, self.state)


class JobOut(BaseModel):
    """Work in the background. Of `total` units (null: not known) `progress` are done."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    project_id: int
    kind: Annotated[str, Field(examples=["billing.run"])]
    state: JobState
    progress: Annotated[int, Field(examples=[40])]
    total: Annotated[int | None, Field(examples=[120])]
    attempts: int
    max_attempts: int
    error: Annotated[str | None, Field(description="Why the last run failed; the job may be tried again.")]
    result: dict[str, Any] | None
    run_at: datetime
    created_by: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
