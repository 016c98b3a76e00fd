"""What a site file says about its barriers."""

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from gateway.contract.limits import MAX_CODE_CHARS
from gateway.uplink.settings import MqttEndpoint

_Code = Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARS, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
_Serial = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^/+#\s]+$")]
_Prefix = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^/+#\s]+(/[^/+#\s]+)*$")]


class LaneSettings(BaseModel):
    """One barrier with its camera."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    device: _Code
    """Code of the lane in passages and commands."""
    sn: _Serial
    """Serial number, as the device puts it into its topics."""
    direction: Literal["entry", "exit"]
    dialect: Literal["generic-json"] = "generic-json"
    cloud_silent: Literal["open", "operator"] = "operator"
    """At an exit, when the cloud takes no note of the vehicle: let it out, or wait for a person."""
    temporary_allowed: bool = True
    """At an entry: whether vehicles without permit may enter."""


class BarrierLineSettings(BaseModel):
    """The barriers behind one MQTT broker, which may be the gateway's own."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: _Code
    lot: _Code
    """The lot that these lanes lead into and out of."""
    broker: MqttEndpoint
    prefix: _Prefix = "barriers"
    answer_s: Annotated[float, Field(gt=0, le=30)] = 3.0
    """How long a barrier may take to answer a command; after that the command is uncertain."""
    duplicate_s: Annotated[float, Field(ge=0, le=600)] = 10.0
    """The same plate again at the same lane within this time is the same passage."""
    cloud_silent_s: Annotated[float, Field(gt=0, le=600)] = 10.0
    """How long the cloud may take to acknowledge a waiting vehicle before it counts as silent."""
    lanes: Annotated[tuple[LaneSettings, ...], Field(min_length=1, max_length=64)]

    @model_validator(mode="after")
    def _unique(self) -> Self:
        for key in ("device", "sn"):
            values = [getattr(lane, key) for lane in self.lanes]
            twice = {value for value in values if values.count(value) > 1}
            if twice:
                raise ValueError(f"expected each {key} once, repeated: {', '.join(sorted(twice))}")
        return self
