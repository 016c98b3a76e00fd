"""Webhooks, events and deliveries as the services hand them out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

DeliveryState = Literal["waiting", "delivered", "dead"]
Stop = Literal["", "person", "failing", "gone"]
"""Why a webhook is not active: somebody stopped it, nothing came through for days, its receiver answered 410."""

KINDS: Final = ("reading.stored", "usage.changed", "exception.opened", "exception.decided")
"""What can be subscribed to. Who emits another kind adds it here and to docs/webhooks.md."""
TEST_KIND: Final = "webhook.test"
"""Sent by hand to one webhook, whatever it subscribed to."""


@dataclass(frozen=True, slots=True)
class Webhook:
    """A subscription of a project; its secret is only known to the delivery."""

    id: int
    project_id: int
    name: str
    url: str
    kinds: tuple[str, ...]
    active: bool
    stopped_because: Stop
    failing_since: datetime | None
    created_by: int | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Delivery:
    """One event for one webhook and how far it got."""

    id: int
    project_id: int
    webhook_id: int
    event_id: UUID
    kind: str
    payload: dict[str, Any]
    state: DeliveryState
    attempts: int
    next_try_at: datetime
    response_code: int | None
    error: str
    created_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries are wanted; None: any."""

    project_id: int | None = None
    webhook_id: int | None = None
    state: DeliveryState | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """A delivery that a worker has taken, with what it needs to send it."""

    id: int
    webhook_id: int
    event_id: UUID
    project_id: int
    kind: str
    payload: dict[str, Any]
    happened_at: datetime
    attempts: int
    """This one counted."""
    url: str
    secret: bytes
    old_secret: bytes | None
    failing_since: datetime | None
