"""What the API of webhooks takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Self
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.inputs import Id, Input, ListQuery
from cloud.webhooks.records import Delivery, DeliveryFilter, DeliveryState, Stop, Webhook

Url = Annotated[str, Field(min_length=8, max_length=2000, examples=["https://example.com/hooks/meters"])]
Name = Annotated[str, Field(max_length=100, examples=["Accounting"])]
Kind = Annotated[str, Field(max_length=64)]
Kinds = Annotated[list[Kind], Field(min_length=1, max_length=50, examples=[["usage.changed", "exception.opened"]])]


class WebhookIn(Input):
    """A new subscription."""

    project_id: Id
    url: Url
    kinds: Kinds
    name: Name = ""


class WebhookChange(Input):
    """What is to be different; a webhook that was stopped is started again with `active`."""

    url: Url | None = None
    kinds: Kinds | None = None
    name: Name | None = None
    active: Annotated[bool, Field(examples=[True])] | None = None


class WebhookOut(BaseModel):
    """A subscription. `stopped_because` is empty while it is active."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    project_id: int
    name: str
    url: str
    kinds: list[str]
    active: bool
    stopped_because: Stop
    failing_since: datetime | None
    created_at: datetime

    @classmethod
    def of(cls, one: Webhook) -> Self:
        """From the record."""
        return cls.model_validate({name: getattr(one, name) for name in cls.model_fields} | {"kinds": list(one.kinds)})


class NewWebhookOut(BaseModel):
    """A subscription with its secret, which is never told again."""

    webhook: WebhookOut
    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="])


class SecretOut(BaseModel):
    """A new secret, which is never told again; the one before signs too for a day."""

    webhook_id: int
    secret: str = Field(examples=["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ9r8GKYo="])


class DeliveryQuery(ListQuery):
    """Which deliveries are wanted."""

    webhook_id: Id | None = None
    state: DeliveryState | None = None
    kind: Kind | None = None

    def wanted(self) -> DeliveryFilter:
        """The same as the service knows it."""
        return DeliveryFilter(self.project_id, self.webhook_id, self.state, self.kind)


class DeliveryOut(BaseModel):
    """One event for one webhook. `next_try_at` counts while it waits."""

    id: int
    webhook_id: int
    event_id: UUID
    kind: str
    payload: dict[str, Any]
    state: DeliveryState
    attempts: int
    next_try_at: datetime | None
    response_code: int | None
    error: str
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, one: Delivery) -> Self:
        """From the record."""
        fields = {name: getattr(one, name) for name in cls.model_fields}
        return cls.model_validate(fields | {"next_try_at": one.next_try_at if one.state == "waiting" else None})
