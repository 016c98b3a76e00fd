"""What the API takes and gives of messages that could not be taken and readings without a place."""

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from cloud.devices.models import Code, Text
from cloud.devices.records import InboxAction, InboxFilter, InboxState, InboxSubject, UnclaimedReason
from cloud.kit.inputs import Id, Input, Instant, ListQuery

ReasonCode = Annotated[str, Field(pattern=r"^[a-z-]{1,40}$", examples=["bad-schema"])]
Because = Annotated[str, Field(min_length=1, max_length=500, examples=["messages of a test"])]


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class LetterQuery(ListQuery):
    """Which messages are wanted."""

    state: Annotated[InboxState | None, Field(examples=["waiting"])] = None
    reason: ReasonCode | None = None
    since: Annotated[Instant | None, Field(description="Those that came since.")] = None

    def wanted(self) -> InboxFilter:
        """The same as the services know it."""
        return InboxFilter(self.project_id, self.state, self.reason, self.since)


class UnclaimedQuery(LetterQuery):
    """Which waiting readings are wanted."""

    gateway_code: Code | None = None
    device_code: Code | None = None

    def wanted(self) -> InboxFilter:
        """The same as the services know it."""
        return InboxFilter(
            self.project_id, self.state, self.reason, self.since, None, self.gateway_code, self.device_code
        )


class DeadLetterOut(_Out):
    """A message that could not be taken. It came first at `received_at`, last at `last_at`."""

    id: int
    project_id: int | None
    received_at: datetime
    last_at: datetime
    topic: str
    size: int
    reason: str
    detail: str
    times: int
    tried_at: Annotated[datetime | None, Field(description="When it was last replayed in vain.")]
    replayed_at: datetime | None
    decision_id: int | None
    state: InboxState


class UnclaimedOut(_Out):
    """Readings of one channel without a meter, counted."""

    project_id: int
    gateway_code: str
    device_code: str
    channel_code: str
    reason: UnclaimedReason
    readings: int
    first_at: datetime
    last_at: datetime
    ahead_s: Annotated[int, Field(description="The least that any of them was ahead of its receipt, in seconds.")]


class _Selection(Input):
    """What of the messages or readings of a project is meant: what waits and fits."""

    project_id: Id
    subject: InboxSubject
    reason_code: ReasonCode | None = None
    since: Instant | None = None
    until: Annotated[Instant | None, Field(description="Those that came until then.")] = None
    gateway_code: Annotated[Code | None, Field(description="Readings alone.")] = None
    device_code: Annotated[Code | None, Field(description="Readings alone.")] = None
    channel_code: Annotated[Text | None, Field(examples=["energy_import_total"], description="Readings alone.")] = None
    letter_id: Annotated[Id | None, Field(description="One message.")] = None

    def wanted(self) -> InboxFilter:
        """The same as the services know it."""
        return InboxFilter(
            self.project_id, "waiting", self.reason_code, self.since, self.until, self.gateway_code, self.device_code,
            self.channel_code, self.letter_id,
        )  # fmt: skip


class ReplayIn(_Selection):
    """What is to be tried again."""

    limit: Annotated[int | None, Field(ge=1, le=10_000_000, description="At most so many, the oldest first.")] = None
    dry_run: Annotated[bool, Field(description="Only count.")] = False


class ReplayOut(BaseModel):
    """The job that does it (none for a dry run), and how many messages or readings it concerns, by reason."""

    job_id: int | None
    found: Annotated[dict[str, int], Field(examples=[{"bad-schema": 3}])]


class DecisionIn(_Selection):
    """What is decided: to discard them, or by how much the clock of a device was ahead."""

    action: InboxAction
    ahead_s: Annotated[int | None, Field(ge=1, le=3_155_760_000, examples=[3600])] = None
    reason: Because


class DecisionOut(_Out):
    """What somebody decided, and for how many messages or readings."""

    id: int
    project_id: int | None
    subject: InboxSubject
    action: InboxAction
    ahead_s: int | None
    wanted: Annotated[dict[str, str], Field(examples=[{"reason": "bad-schema"}])]
    found: int
    reason: str
    actor: str
    created_at: datetime
    undone_at: datetime | None
    undone_by: str | None
