"""The configuration of a gateway on its way down, and what the gateway reports of it."""

from enum import StrEnum
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway.contract import limits
from gateway.contract.messages import Code, Count, Seq, Signature, Text, TimeMs, Wire

SiteText = Annotated[str, Meta(min_length=1, max_length=limits.MAX_SITE_CHARS)]
TemplateText = Annotated[str, Meta(min_length=1, max_length=limits.MAX_TEMPLATE_CHARS)]
Templates = Annotated[dict[Code, TemplateText], Meta(max_length=limits.MAX_TEMPLATES)]
Detail = Annotated[str, Meta(max_length=limits.MAX_DETAIL_CHARS)]
ConfirmSeconds = Annotated[int, Meta(ge=limits.MIN_CONFIRM_S, le=limits.MAX_CONFIRM_S)]


class Configuration(Wire, frozen=True):
    """What the cloud wants one gateway to run, signed by the cloud.

    What must not be passed over is a key of the site, which a gateway that does not know it refuses; a field that it
    does not know it ignores. `number` rises with every configuration of a gateway: it takes none that is not above
    the highest it has seen.
    """

    version: int
    number: Seq
    project: Code
    gateway: Code
    issued_at: TimeMs
    site: SiteText
    """YAML (or JSON, which is YAML): the part of a site file that may come from afar."""
    templates: Templates
    """Meter templates beside those that come with the software, by id; YAML."""
    confirm_s: ConfirmSeconds
    """How long the gateway has to prove that it reaches the cloud and its devices with it."""
    actor: Text
    key_id: Code
    signature: Signature = ""
    """Ed25519 over what `signing` says, in base64."""


class ConfigurationHead(Wire, frozen=True):
    """What is read of any configuration that the cloud signed, also of one in words that are not known here.

    These fields stay where they are in every version.
    """

    version: int
    number: Seq
    project: Code
    gateway: Code
    issued_at: msgspec.Raw
    site: msgspec.Raw
    templates: msgspec.Raw
    confirm_s: msgspec.Raw
    actor: msgspec.Raw
    key_id: Code
    signature: Signature = ""


class ConfigurationState(StrEnum):
    """How far a configuration got. The last three end it, but a confirmed one may still be taken back."""

    QUEUED = "queued"
    RECEIVED = "received"
    """Proven, valid and durable; not in force yet."""
    APPLIED = "applied"
    """In force, on probation."""
    SUPERSEDED = "superseded"
    """Said by the cloud: a newer one was made before the gateway took this one."""
    REFUSED = "refused"
    """Never in force; the detail says why."""
    CONFIRMED = "confirmed"
    ROLLED_BACK = "rolled-back"
    """Was in force and is not any more; the detail says why."""


class ConfigurationReport(Wire, frozen=True):
    """A step in the life of a configuration, reported by the gateway.

    `proven` is false for a message that is not provably an order of the cloud to this gateway, whose number says
    nothing about the cloud's own configuration of that number.
    """

    number: Seq
    state: ConfigurationState
    at: TimeMs
    detail: Detail = ""
    proven: bool = True
    highest: Count = 0
    """Highest number that was ever proven to this gateway: the next one has to be above it."""


ConfigurationReports = Annotated[
    tuple[ConfigurationReport, ...], Meta(min_length=1, max_length=limits.MAX_ITEMS_PER_BATCH)
]
