"""The message types. Array-like on the wire: the order of fields is the schema, new fields only at the end.

Times are integer milliseconds since 1970-01-01 UTC. Values are integers in the base unit of their quantity.
"""

from enum import IntFlag, StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.contract import limits
from gateway.contract.topics import Up

Code = Annotated[str, Meta(min_length=1, max_length=limits.MAX_CODE_CHARS, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*\Z")]
CodeOrAll = Annotated[str, Meta(max_length=limits.MAX_CODE_CHARS, pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]*)?\Z")]
"""A code, or nothing for all of them."""
Text = Annotated[str, Meta(max_length=limits.MAX_TEXT_CHARS)]
Plate = Annotated[str, Meta(max_length=limits.MAX_PLATE_CHARS)]
UuidText = Annotated[str, Meta(min_length=36, max_length=36, pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")]
TimeMs = Annotated[int, Meta(ge=limits.MIN_TIME_MS, le=limits.MAX_TIME_MS)]
Seq = Annotated[int, Meta(ge=1, le=limits.MAX_VALUE)]
Value = Annotated[int, Meta(ge=limits.MIN_VALUE, le=limits.MAX_VALUE)]
Count = Annotated[int, Meta(ge=0, le=limits.MAX_VALUE)]
Signature = Annotated[str, Meta(max_length=128)]


class Quality(IntFlag):
    """What is known against a value. 0 is good; flags add up."""

    GOOD = 0
    ESTIMATED_CLOCK = 1
    """The gateway's clock was not synchronised when this was read."""
    STALE = 2
    """The device repeated an old answer or its own clock stood still."""
    OUT_OF_RANGE = 4
    """Outside the bounds that the template gives."""
    DEVICE_ERROR = 8
    """The device answered with a sentinel or not a number; such a point carries no usable value."""
    RESTORED = 16
    """Read back from the device's own memory after an outage."""
    MANUAL = 32
    """Typed in or imported by a person."""


class Wire(msgspec.Struct, array_like=True, frozen=True, forbid_unknown_fields=False):
    """Base of all messages."""


class Point(Wire, frozen=True):
    """One value of one channel. `taken_at` is when the device's answer arrived at the gateway."""

    device: Code
    channel: Code
    taken_at: TimeMs
    value: Value
    quality: Annotated[int, Meta(ge=0, le=255)] = 0


class Outcome(StrEnum):
    """How far a passage got. A later message with the same id may only move it from ARRIVED to another."""

    ARRIVED = "arrived"
    """Recognised and waiting at the closed barrier."""
    PASSED = "passed"
    """The barrier opened and the vehicle went through."""
    TURNED_BACK = "turned-back"
    REFUSED = "refused"


class Passage(Wire, frozen=True):
    """One recognised vehicle at one lane. `id` is made at the edge and makes repetitions harmless."""

    id: UuidText
    device: Code
    plate: Plate
    """As used; empty for a vehicle without a plate."""
    taken_at: TimeMs
    outcome: Outcome
    direction: Annotated[str, Meta(pattern=r"^(entry|exit)\Z")]
    vehicle_class: Code = "small"
    score: Annotated[int, Meta(ge=0, le=1000)] = 0
    """Recognition confidence in 1/1000."""
    plate_read: Plate = ""
    """As the camera read it, when it differs."""
    offline: bool = False
    """Happened while barrier or gateway was cut off; `taken_at` is then the device's time."""
    image: Text = ""
    """Reference of the stored image, not the image."""
    decision: Text = ""
    """Which rule decided at the edge: `temporary`, `permit`, `whitelist`, `blacklist`, `lot-full`, `command` …"""
    outcome_at: Annotated[int, Meta(ge=0, le=limits.MAX_TIME_MS)] = 0
    """When the outcome became known; 0 when it is `taken_at`."""


class CommandState(StrEnum):
    """States of a command. The last four are final."""

    QUEUED = "queued"
    DELIVERED = "delivered"
    EXECUTING = "executing"
    DONE = "done"
    FAILED = "failed"
    EXPIRED = "expired"
    UNCERTAIN = "uncertain"
    """Sent to the device, answer lost. Never retried by itself."""


class CommandResult(Wire, frozen=True):
    """A step in the life of a command, reported by the gateway."""

    command_id: UuidText
    state: CommandState
    at: TimeMs
    detail: Text = ""


class DeviceHealth(Wire, frozen=True):
    """State of one device since the gateway started. `last_seen` is 0 when it never answered."""

    device: Code
    last_seen: Annotated[int, Meta(ge=0, le=limits.MAX_TIME_MS)]
    answers: Count
    timeouts: Count
    exceptions: Count
    malformed: Count
    round_trip_us: Count
    """Median of the last answers, in microseconds."""
    actions: Annotated[tuple[Code, ...], Meta(max_length=limits.MAX_ACTIONS)] = ()
    """What it can be told to do: values of Action, and perhaps of a newer one. Empty when the gateway is older."""


class Health(Wire, frozen=True):
    """Health report of a gateway."""

    at: TimeMs
    software: Text
    uptime_s: Count
    queue_rows: Count
    queue_bytes: Count
    queue_oldest: Annotated[int, Meta(ge=0, le=limits.MAX_TIME_MS)]
    """Creation time of the oldest unacknowledged batch, 0 when the queue is empty."""
    parked_rows: Count
    """Batches that the cloud rejected, kept for inspection."""
    devices: Annotated[tuple[DeviceHealth, ...], Meta(max_length=limits.MAX_POINTS_PER_BATCH)] = ()
    lost_batches: Count = 0
    """Batches given up for lack of room since the outbox file was made; gaps say which."""
    set_aside: Count = 0
    """Damaged outbox files that lie beside the one in use."""
    access: Count = 0
    """Number of what is known of vehicles (`AccessUpdate`), 0 for nothing, also from an older gateway."""
    not_understood: Count = 0
    """Entries of what is known of vehicles that this software cannot read: it keeps them and goes by none of them."""
    refused: Count = 0
    """Messages of the cloud that were broken, unproven or in words this software does not know, since it started."""
    clock_ahead: Value | None = None
    """Milliseconds that the gateway's wall clock is ahead of the cloud's for certain; None when it is not known."""
    challenge: Annotated[str, Meta(max_length=64)] = ""
    """Answered by the cloud with its time (`CloudTime`); empty when nothing is asked."""


class GapReason(StrEnum):
    """Why something that was read is not sent."""

    OUTBOX_FULL = "outbox-full"
    """The outbox had reached its bound: not recorded, or dropped again."""
    THINNED = "thinned"
    """Of several values over time one was kept, to make room."""
    DISK_FULL = "disk-full"
    DAMAGED_FILE = "damaged-file"
    """The outbox file was damaged and set aside; what it held may still be salvaged."""


class Gap(Wire, frozen=True):
    """What the gateway no longer holds and will not send. `since` and `until` are the times of what is missing.

    An upper bound: what the cloud had stored before the gateway heard of it is not missing. The same gap may come
    again.
    """

    device: CodeOrAll
    channel: CodeOrAll
    since: TimeMs
    until: TimeMs
    count: Count
    """How many points, passages or results; 0 when it is not known."""
    reason: GapReason
    kind: Up = Up.READINGS


class Envelope(Wire, frozen=True):
    """Frame of every uplink message. `epoch` names the outbox file, `seq` the row in it."""

    version: int
    epoch: UuidText
    seq: Seq
    created_at: TimeMs
    body: msgspec.Raw
    """JSON array of Point, Passage, CommandResult, Health, Gap or ConfigurationReport, by topic."""


Points = Annotated[tuple[Point, ...], Meta(min_length=1, max_length=limits.MAX_POINTS_PER_BATCH)]
Passages = Annotated[tuple[Passage, ...], Meta(min_length=1, max_length=limits.MAX_ITEMS_PER_BATCH)]
Results = Annotated[tuple[CommandResult, ...], Meta(min_length=1, max_length=limits.MAX_ITEMS_PER_BATCH)]
Healths = Annotated[tuple[Health, ...], Meta(min_length=1, max_length=1)]
Gaps = Annotated[tuple[Gap, ...], Meta(min_length=1, max_length=limits.MAX_ITEMS_PER_BATCH)]


class Rejection(Wire, frozen=True):
    """One batch that the cloud will never accept."""

    seq: Seq
    reason: Text


class Ack(Wire, frozen=True):
    """What the cloud has committed (`accepted`) and what it refuses for ever (`rejected`)."""

    version: int
    epoch: UuidText
    accepted: Annotated[tuple[Seq, ...], Meta(max_length=limits.MAX_ITEMS_PER_BATCH)] = ()
    rejected: Annotated[tuple[Rejection, ...], Meta(max_length=limits.MAX_ITEMS_PER_BATCH)] = ()


class Action(StrEnum):
    """What can be commanded."""

    OPEN_BARRIER = "open-barrier"
    CLOSE_BARRIER = "close-barrier"
    READ_NOW = "read-now"
    OPEN_VALVE = "open-valve"
    CLOSE_VALVE = "close-valve"
    SWITCH_ON = "switch-on"
    SWITCH_OFF = "switch-off"
    SET_CLOCK = "set-clock"
    SEND_PICTURE = "send-picture"
    """Puts the picture of a passage where a link says."""
    LIST_PLATE = "list-plate"
    """Puts a plate on the list by which a camera opens on its own while it cannot reach the gateway."""
    UNLIST_PLATE = "unlist-plate"
    SHOW_DUE = "show-due"
    """Tells the display of a lane what the vehicle that stands there has to pay."""


class CloudTime(Wire, frozen=True):
    """The time of the cloud when it heard the `challenge` of a health report, signed."""

    version: int
    project: Code
    gateway: Code
    challenge: Annotated[str, Meta(min_length=1, max_length=64)]
    at: TimeMs
    key_id: Code
    signature: Signature = ""
    """Ed25519 over what `signing` says, in base64."""


class CommandHead(Wire, frozen=True):
    """What is read of any order that the cloud signed, also of one in words that this software does not know.

    These fields stay where they are in every version.
    """

    version: int
    id: UuidText
    project: Code
    gateway: Code
    device: msgspec.Raw
    action: msgspec.Raw
    arguments: msgspec.Raw
    actor: msgspec.Raw
    issued_at: msgspec.Raw
    expires_at: TimeMs
    nonce: msgspec.Raw
    key_id: Code
    signature: Signature = ""


class Command(Wire, frozen=True):
    """An order of the cloud to one device of one gateway, signed by the cloud (see `signing`).

    What narrows or changes an order is an argument or an action of its own, never a new field: a gateway ignores
    fields that it does not know, and turns down arguments and actions that it does not know.
    """

    version: int
    id: UuidText
    project: Code
    gateway: Code
    device: Code
    action: Action
    arguments: dict[Code, Text]
    actor: Text
    issued_at: TimeMs
    expires_at: TimeMs
    nonce: Annotated[str, Meta(min_length=16, max_length=64)]
    key_id: Code
    signature: Signature = ""
    """Ed25519 over what `signing` says, in base64."""
