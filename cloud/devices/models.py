"""What the API of the devices takes and gives."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from cloud.devices.configuring import DEFAULT_CONFIRM_S, LONGEST_CONFIRM_S, SHORTEST_CONFIRM_S
from cloud.devices.records import DeviceKind
from cloud.kit.inputs import Id, Input, ListQuery
from gateway.contract import limits
from gateway.contract.messages import Action, CommandState

Code = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", examples=["gw-1"])]
Name = Annotated[str, Field(min_length=1, max_length=200)]
Text = Annotated[str, Field(max_length=limits.MAX_TEXT_CHARS)]
Newest = Annotated[
    int | None, Field(ge=0, le=2**63 - 1, description="Refused when there is a newer configuration than this.")
]


class _Out(BaseModel):
    model_config = ConfigDict(from_attributes=True)


class DeviceQuery(ListQuery):
    """Which devices are wanted."""

    gateway_id: Id | None = None


class CommandQuery(ListQuery):
    """Which commands are wanted."""

    device_id: Id | None = None
    state: CommandState | None = None
    action: Action | None = None


class GatewayIn(Input):
    """A new gateway."""

    project_id: Id
    code: Code
    name: Name


class GatewayOut(_Out):
    """A gateway and when it was heard of."""

    id: int
    project_id: int
    code: str
    name: str
    seen_at: datetime | None
    health_at: datetime | None
    software: str | None = Field(None, description="Version of its software, as it told last.")
    not_understood: int | None = Field(
        None,
        description="Entries of what it was told of vehicles that its software cannot read: it goes by none of them.",
    )
    messages_refused: int | None = Field(
        None, description="Messages, since it started, that were broken, unproven or in words that it does not know."
    )
    clock_ahead_s: int | None = Field(
        None,
        description="Seconds that its clock is ahead of the cloud's for certain, negative: behind; as it told last.",
    )


class DeviceIn(Input):
    """A new device of a gateway."""

    project_id: Id
    gateway_id: Id
    code: Code
    kind: DeviceKind
    template: Annotated[str, Field(max_length=100)] = ""


class DeviceOut(_Out):
    """A device and the meter it carries now."""

    id: int
    project_id: int
    gateway_id: int
    gateway_code: str
    code: str
    kind: DeviceKind
    template: str
    meter_id: int | None
    seen_at: datetime | None


class ConfigurationIn(Input):
    """What a gateway is to run from now on."""

    site: Annotated[
        str,
        Field(
            min_length=1,
            max_length=limits.MAX_SITE_CHARS,
            description="YAML: time_zone, periods, lines, barriers; a key that is absent leaves the site file's own.",
            examples=["periods: {billing_s: 900, instant_s: 60}\n"],
        ),
    ]
    templates: Annotated[
        dict[Code, Annotated[str, Field(min_length=1, max_length=limits.MAX_TEMPLATE_CHARS)]],
        Field(max_length=limits.MAX_TEMPLATES, description="Meter templates beside the gateway's own, by id; YAML."),
    ] = Field(default_factory=dict)
    reason: Annotated[Text, Field(min_length=1, examples=["Flat 0101 has a new meter"])]
    confirm_s: Annotated[int, Field(ge=SHORTEST_CONFIRM_S, le=LONGEST_CONFIRM_S)] = DEFAULT_CONFIRM_S
    newest: Newest = None


class RestoreIn(Input):
    """An earlier configuration made anew."""

    reason: Annotated[Text, Field(min_length=1, examples=["Configuration 7 lost a line"])]
    confirm_s: Annotated[int, Field(ge=SHORTEST_CONFIRM_S, le=LONGEST_CONFIRM_S)] = DEFAULT_CONFIRM_S
    newest: Newest = None


class ConfigurationOut(_Out):
    """A version of what a gateway is to run, and how far it got."""

    project_id: int
    gateway_id: int
    number: int
    confirm_s: int
    restores: int | None
    reason: str
    actor: str
    issued_at: datetime
    state: str
    detail: str
    updated_at: datetime


class ConfigurationWhole(ConfigurationOut):
    """The same with its content."""

    site: str
    templates: dict[str, str]


class CommandIn(Input):
    """An order to a device."""

    project_id: Id
    device_id: Id
    action: Action
    arguments: Annotated[dict[Code, Text], Field(max_length=20)] = Field(default_factory=dict)
    reason: Annotated[Text, Field(min_length=1, examples=["Resident asked for a reading"])]
    valid_for_s: Annotated[int, Field(ge=1, le=86_400)] = 30


class CommandOut(_Out):
    """An order and how far it got."""

    id: UUID
    project_id: int
    device_id: int
    device_code: str
    action: str
    arguments: dict[str, str]
    reason: str
    actor: str
    issued_at: datetime
    expires_at: datetime
    state: str
    detail: str
    updated_at: datetime


class GapQuery(ListQuery):
    """Which gaps are wanted."""

    gateway_id: Id | None = None


class GapOut(_Out):
    """What a gateway had to give up and will not send: at most `lost` of `content` between the two times."""

    id: int
    project_id: int
    gateway_id: int
    gateway_code: str
    device_code: Annotated[str, Field(description="Empty: any device of the gateway.", examples=["e-1-0101"])]
    channel_code: Annotated[str, Field(description="Empty: any channel.", examples=["energy_import_total"])]
    content: Annotated[str, Field(examples=["readings"])]
    reason: Annotated[str, Field(examples=["outbox-full"])]
    from_at: datetime
    until_at: datetime
    lost: Annotated[int, Field(description="0: the gateway cannot know.")]
    received_at: datetime
