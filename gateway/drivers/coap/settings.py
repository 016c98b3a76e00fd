"""What a site file says about CoAP lines: one that meters push to, one that observes meters."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from gateway.drivers.coap.senml import MAX_NAME_CHARS
from gateway.drivers.settings import Code, Host, Port, Seconds
from gateway.templates.base import Strict

Loc = tuple[int | str, ...]


def _coap_uri(text: str) -> str:
    try:
        parts = urlsplit(text)
        good = parts.scheme == "coap" and bool(parts.hostname) and not parts.fragment and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError("expected an address such as coap://192.0.2.7/meter or coap://[2001:db8::7]:5683/m/1?all")
    return text


NamePrefix = Annotated[str, Field(min_length=1, max_length=MAX_NAME_CHARS, pattern=r"^[A-Za-z0-9:./_-]+$")]


class CoapDevice(Strict):
    """One meter: what a pushing and an observed one share."""

    id: Code
    template: str
    name: NamePrefix | None = None
    """What its record names begin with, such as `urn:dev:mac:0024befffe804ff1:`; by it a pack for `/senml` finds its
    meter. When absent, the template's names stand alone or after the base name, and the meter pushes to `/m/<id>`."""


class ObservedDevice(CoapDevice):
    """One meter that is asked."""

    uri: Annotated[str, AfterValidator(_coap_uri)]


class CoapServerLineSettings(Strict):
    """A UDP socket that battery meters push to.

    CoAP here is plain UDP: bind it to an address of the meters' own network.
    """

    name: Code
    protocol: Literal["coap-server"]
    host: Host
    """Address to listen on."""
    port: Port = 5683
    tokens_file: Path | None = None
    """File with a device id and a token on each line; every device of this line then must push with `?token=…`."""
    history_after_s: Seconds = 300.0
    """Values older than this when they arrive come from the device's own memory and are flagged restored."""
    devices: Annotated[tuple[CoapDevice, ...], Field(min_length=1)]

    @property
    def endpoint(self) -> tuple[str, str]:
        """(key, what only one line may own)."""
        return "port", f"udp {self.host}:{self.port}"

    def all_devices(self) -> Iterator[tuple[CoapDevice, Loc]]:
        """Every device, with the place in the line's settings that names it."""
        for index, device in enumerate(self.devices):
            yield device, ("devices", index)

    @model_validator(mode="after")
    def _each_name_once(self) -> Self:
        names = [device.name for device in self.devices if device.name is not None]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"expected each name once, repeated: {', '.join(twice)}")
        return self


class CoapClientLineSettings(Strict):
    """Meters on mains power that serve SenML and are observed (RFC 7641), or polled when they cannot be."""

    name: Code
    protocol: Literal["coap-client"]
    staleness_s: Seconds = 120.0
    """Without a notification for this long the observation is registered anew: a device that restarted has
    forgotten it, and nobody would ever say so. At least the longest time between two notifications."""
    poll_s: Seconds = 60.0
    """How often a device is asked that does not offer to be observed."""
    answer_s: Annotated[float, Field(gt=0, le=120)] = 30.0
    """How long a device may take to answer, repetitions included."""
    history_after_s: Seconds = 300.0
    """Values older than this when they arrive come from the device's own memory and are flagged restored."""
    devices: Annotated[tuple[ObservedDevice, ...], Field(min_length=1)]

    @property
    def endpoint(self) -> tuple[str, str]:
        """(key, what only one line may own)."""
        return "name", f"coap client {self.name}"

    def all_devices(self) -> Iterator[tuple[ObservedDevice, Loc]]:
        """Every device, with the place in the line's settings that names it."""
        for index, device in enumerate(self.devices):
            yield device, ("devices", index)
