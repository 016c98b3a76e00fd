"""What the devices feature hands out."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

from gateway.contract.messages import Action, Health

DeviceKind = Literal["electricity", "water", "heat", "barrier", "other"]
UnclaimedReason = Literal["unknown-device", "unbound", "unknown-channel", "clock"]
InboxSubject = Literal["dead-letters", "unclaimed-readings"]
InboxAction = Literal["discard", "correct-clock"]
InboxState = Literal["waiting", "replayed", "discarded", "corrected"]
"""Replayed: messages alone; corrected: readings alone, which wait to be placed with another time."""

CLOCK_TOLERANCE = timedelta(minutes=5)
"""How far ahead of its receipt a reading may be stamped."""

ONLINE_WITHIN = timedelta(minutes=30)
"""A device heard of more recently than this is online; meters are polled every 15 minutes at the latest."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """An edge process; `code` is its name on the wire."""

    id: int
    project_id: int
    code: str
    name: str
    seen_at: datetime | None
    health: Health | None
    health_at: datetime | None

    @property
    def software(self) -> str | None:
        """Version of its software, as it told last."""
        return None if self.health is None else self.health.software

    @property
    def not_understood(self) -> int | None:
        """Entries of what it was told of vehicles that its software cannot read."""
        return None if self.health is None else self.health.not_understood

    @property
    def messages_refused(self) -> int | None:
        """Messages, since it started, that were broken, unproven or in words that it does not know."""
        return None if self.health is None else self.health.refused

    @property
    def clock_ahead_s(self) -> int | None:
        """Seconds that its clock is ahead of ours for certain, negative when it is behind; None: not known."""
        ahead_ms = None if self.health is None else self.health.clock_ahead
        return None if ahead_ms is None else int(ahead_ms / 1000)


@dataclass(frozen=True, slots=True)
class Device:
    """A thing on a gateway's lines; `seen_at` is its newest reading or passage as stamped at the edge."""

    id: int
    project_id: int
    gateway_id: int
    gateway_code: str
    code: str
    kind: DeviceKind
    template: str
    meter_id: int | None
    """The meter it carries now."""
    seen_at: datetime | None


@dataclass(frozen=True, slots=True)
class DeviceCounts:
    """`online` and `late` were heard of, `never` not yet; the three add up to `total`."""

    online: int
    late: int
    never: int
    total: int


@dataclass(frozen=True, slots=True)
class Command:
    """An order to a device and how far it got."""

    id: UUID
    project_id: int
    device_id: int
    gateway_code: str
    device_code: str
    action: str
    arguments: dict[str, str]
    reason: str
    actor: str
    issued_at: datetime
    expires_at: datetime
    state: str
    detail: str
    published_at: datetime | None
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Wish:
    """An order to a device that is to be queued."""

    device_id: int
    action: Action
    arguments: Mapping[str, str]
    actor: str
    reason: str
    valid_for: timedelta


@dataclass(frozen=True, slots=True)
class CommandFilter:
    """Which orders are wanted; None: all."""

    project_id: int | None = None
    device_id: int | None = None
    state: str | None = None
    action: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A message that could not be taken, without its payload. It came first at `received_at`, last at `last_at`."""

    id: int
    project_id: int | None
    received_at: datetime
    last_at: datetime
    topic: str
    size: int
    reason: str
    detail: str
    times: int
    tried_at: datetime | None
    replayed_at: datetime | None
    decision_id: int | None
    state: InboxState


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Readings of one channel that no meter can take, counted."""

    project_id: int
    gateway_code: str
    device_code: str
    channel_code: str
    reason: UnclaimedReason
    readings: int
    first_at: datetime
    last_at: datetime
    ahead_s: int
    """The least that any of them was ahead of its receipt; not above 0 when the clock was right."""


@dataclass(frozen=True, slots=True)
class InboxFilter:
    """Which messages or waiting readings are meant; None: any. `since` and `until`: when they came.

    Gateway and device name readings, `letter_id` one message.
    """

    project_id: int | None = None
    state: InboxState | None = "waiting"
    reason: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    gateway_code: str | None = None
    device_code: str | None = None
    channel_code: str | None = None
    letter_id: int | None = None


@dataclass(frozen=True, slots=True)
class InboxDecision:
    """What somebody decided about messages or waiting readings. `found`: how many they were."""

    id: int
    project_id: int | None
    subject: InboxSubject
    action: InboxAction
    ahead_s: int | None
    wanted: dict[str, str]
    found: int
    reason: str
    actor: str
    created_at: datetime
    undone_at: datetime | None
    undone_by: str | None


@dataclass(frozen=True, slots=True)
class ReadingGap:
    """What a gateway gave up. An empty device or channel code: any; `lost` 0: not known how many."""

    id: int
    project_id: int
    gateway_id: int
    gateway_code: str
    device_code: str
    channel_code: str
    content: str
    reason: str
    from_at: datetime
    until_at: datetime
    lost: int
    received_at: datetime


@dataclass(frozen=True, slots=True)
class Binding:
    """A device as ingest looks it up: `from_ms`/`until_ms` bound the time in which `meter_id` is read by it.

    A known device without any binding has one row with `meter_id` None.
    """

    key: int
    """Position in the list of keys that was asked for."""
    device_id: int
    meter_id: int | None
    from_ms: int
    until_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigurationSummary:
    """A version of what a gateway is to run, and how far it got."""

    id: int
    project_id: int
    gateway_id: int
    number: int
    confirm_s: int
    """How long the gateway has to prove that it works with it."""
    restores: int | None
    """The earlier number whose content it has."""
    reason: str
    actor: str
    issued_at: datetime
    state: str
    detail: str
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Configuration(ConfigurationSummary):
    """The same with its content."""

    gateway_code: str
    site: str
    templates: dict[str, str]
