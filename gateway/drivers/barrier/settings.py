"""What a site file says about its barriers."""

from typing import Annotated, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.contract.limits import MAX_CODE_CHARS
from gateway.uplink.settings import MqttEndpoint

_Code = Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARS, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_Serial = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^/+#\s]+$")]
_Prefix = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/+#\s]+(/[^/+#\s]+)*$")]

_PREFIXES: Final = {"generic-json": "barriers", "vzenith": "device"}


class VzenithSettings(BaseModel):
    """How a VZenith device is wired and how old its firmware is."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    opens_by: Literal["auto", "gate_direct_open", "gpio_out"] = "auto"
    """`auto` asks for `gate_direct_open` and takes `gpio_out` once the device said that it does not know it. Firmware
    that says nothing at all to a command it does not know needs `gpio_out` here."""
    open_output: Annotated[int, Field(ge=0, le=7)] = 0
    close_output: Annotated[int, Field(ge=0, le=7)] | None = 1
    """None when the barrier closes by itself only."""
    pulse_ms: Annotated[int, Field(ge=500, le=5000)] = 1500
    passed_input: Annotated[int, Field(ge=0, le=7)] | None = None
    """The input of the loop behind the barrier, which falls back when a vehicle has left it."""
    set_clock: bool = True
    """Set the device's clock when it is more than 5 s off."""


class LaneSettings(BaseModel):
    """One barrier with its camera."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: _Code
    """Code of the lane in passages and commands."""
    sn: _Serial
    """Serial number, as the device puts it into its topics."""
    direction: Literal["entry", "exit"]
    dialect: Literal["generic-json", "vzenith"] = "generic-json"
    vzenith: VzenithSettings = VzenithSettings()
    passage_sensor: bool = True
    """Whether the device tells when a vehicle went through. Without, a vehicle is through when the barrier said that it
    opened."""
    shows_due: bool = True
    """At an exit, in a dialect that can: whether the lane's display is told plate and amount of who has to pay."""
    cloud_silent: Literal["open", "operator"] = "operator"
    """At an exit, when the cloud takes no note of the vehicle: let it out, or wait for a person."""
    temporary_allowed: bool = True
    """At an entry: whether vehicles without permit may enter."""
    permit_expired: Literal["temporary", "operator"] = "temporary"
    """At an entry, with a permit whose grace is over: like any other vehicle, or a person decides."""
    already_inside: Literal["open", "operator"] = "open"
    """At an entry, for a vehicle that has not left: open, the cloud closes the old stay; or a person decides."""
    without_plate: Literal["open", "operator"] = "operator"
    """At an entry, for a vehicle whose plate was not read."""
    on_failure: Literal["open", "operator"] = "operator"
    """At an entry, when a refusal would rest on permits that the gateway does not know (it lost its file and the cloud
    has not told them again), or when its software failed."""


class BarrierLineSettings(BaseModel):
    """The barriers behind one MQTT broker, which may be the gateway's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Code
    lot: _Code
    """The lot that these lanes lead into and out of."""
    broker: MqttEndpoint
    prefix: _Prefix | None = None
    """First levels of the devices' topics; `barriers`, or `device` for VZenith, when absent."""
    answer_s: Annotated[float, Field(gt=0, le=30)] = 3.0
    """How long a barrier may take to answer a command; after that the command is uncertain."""
    duplicate_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """The same plate again at the same lane within this time is the same passage."""
    lost_after_s: Annotated[float, Field(gt=0, le=3600)] = 35.0
    """A device of which nothing was heard for so long is lost: keep-alives come every 10 s."""
    cloud_silent_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """How long the cloud may take to acknowledge a waiting vehicle before it counts as silent."""
    lanes: Annotated[tuple[LaneSettings, ...], Field(min_length=1, max_length=64)]

    def prefix_of(self, lane: LaneSettings) -> str:
        """First levels of the topics of a lane's device."""
        return self.prefix or _PREFIXES[lane.dialect]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for key in ("device", "sn"):
            values = [getattr(lane, key) for lane in self.lanes]
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"expected each {key} once, repeated: {', '.join(sorted(twice))}")
        return self
