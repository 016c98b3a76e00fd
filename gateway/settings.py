"""The site file: everything that one gateway is told. Wrong in any key, and the process does not start."""

import base64
import binascii
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, Field, ValidationError

from gateway.contract.limits import MAX_POINTS_PER_BATCH
from gateway.drivers.barrier.settings import BarrierLineSettings
from gateway.drivers.coap.settings import CoapDevice
from gateway.drivers.line_kinds import LineSettings
from gateway.drivers.settings import Code, DeviceSettings, Periods, Seconds
from gateway.templates.base import DeviceTemplate, Strict
from gateway.templates.library import Library, meter_schema
from gateway.templates.located import Finding, Loc, load_located
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.report import ReportSettings
from gateway.uplink.settings import BrokerSettings


def _ed25519_public_key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise ValueError("expected 32 bytes in base64: a raw Ed25519 public key")
    return text


PublicKey = Annotated[str, AfterValidator(_ed25519_public_key)]


def _time_zone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, OSError, ValueError):  # not found is a KeyError
        raise ValueError("expected an IANA time zone such as Asia/Shanghai") from None
    return name


TimeZone = Annotated[str, AfterValidator(_time_zone)]


class RecorderSettings(Strict):
    """How points become batches."""

    max_points: Annotated[int, Field(ge=1, le=MAX_POINTS_PER_BATCH)] = 200
    linger_s: Annotated[float, Field(gt=0, le=60)] = 1.0


class RemotePart(Strict):
    """What of a site the cloud may configure, too. A key that it does not give leaves the site file's own."""

    time_zone: TimeZone = "Asia/Shanghai"
    """Of the property: when its day begins, and what a meter's clock is set to."""
    periods: Periods = Periods()
    report: ReportSettings | None = None
    """Report by exception; every value is reported when it is absent here and at the device."""
    lines: tuple[LineSettings, ...] = ()
    barriers: tuple[BarrierLineSettings, ...] = ()


class SiteSettings(RemotePart):
    """A whole site."""

    project: Code
    gateway: Code
    state_directory: Path
    """Where the outbox lives; relative to the working directory."""
    broker: BrokerSettings
    cloud_keys: dict[Code, PublicKey] = Field(default_factory=dict)
    """Who may command: key id to raw Ed25519 public key in base64."""
    remote_configuration: bool = True
    """Whether the cloud may configure time zone, periods, lines and barriers; false brings the file's own back."""
    recorder: RecorderSettings = RecorderSettings()
    outbox_max_bytes: Annotated[int, Field(ge=1_000_000)] = 512 * 1024 * 1024
    pictures_max_bytes: Annotated[int, Field(ge=0)] = 1024 * 1024 * 1024
    """Pictures of vehicles that are kept in the state directory, the oldest making room; 0 keeps none."""
    health_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Prometheus metrics on 127.0.0.1; no metrics when absent, any free port when 0."""
    health_period_s: Seconds = 60.0


def load_site(path: Path, library: Library | None = None) -> SiteSettings:
    """Reads and checks a site file and the templates it uses; without `library`, those that come with the software.

    Raises ConfigError naming file, line, key and expectation of each problem.
    """
    templates = library or Library()
    return load_located(path, lambda _: SiteSettings, lambda site: whole_findings(site, templates))


def whole_findings(site: SiteSettings, library: Library) -> Iterable[Finding]:
    """What no single key shows: codes used twice, unknown templates, two owners of one connection."""
    seen_lines: set[str] = set()
    seen_endpoints: set[str] = set()
    seen_devices: set[str] = set()
    for number, line in enumerate(site.lines):
        here = ("lines", number)
        if line.name in seen_lines:
            yield (*here, "name"), _once("line name", line.name)
        key, endpoint = line.endpoint
        if endpoint in seen_endpoints:
            yield (*here, key), f"one line per connection, {endpoint} has one already"
        seen_lines.add(line.name)
        seen_endpoints.add(endpoint)
        for loc, text in _line_findings(line, library, seen_devices):
            yield (*here, *loc), text
    for number, barrier in enumerate(site.barriers):
        for position, lane in enumerate(barrier.lanes):
            if lane.device in seen_devices:
                yield ("barriers", number, "lanes", position, "device"), _once("device", lane.device)
            seen_devices.add(lane.device)


def _once(what: str, value: object) -> str:
    return f"each {what} once, {value} is repeated"


_Stations = dict[tuple[str, int | str], set[tuple[str, int]]]
"""Meters on each station, by protocol and station: template and instance."""


def _line_findings(line: LineSettings, library: Library, seen: set[str]) -> Iterable[Finding]:
    stations: _Stations = {}
    try:
        devices: list[tuple[DeviceSettings | CoapDevice, Loc]] = list(line.all_devices())
    except ValidationError as error:
        yield ("device_series",), f"device codes of letters, digits, '.', '_', '-': {error.errors()[0]['msg']}"
        return
    told: set[Loc] = set()
    for device, loc in devices:
        if device.id in seen:
            yield (*loc, "id"), _once("device id", device.id)
        seen.add(device.id)
        if loc in told:
            continue
        if device.template not in library.ids:
            told.add(loc)
            yield (*loc, "template"), f"one of {', '.join(library.ids)}, found {device.template!r}"
            continue
        key, text = _station_finding(line, device, library.meter(device.template), stations)
        if text:
            told.add(loc)
            yield (*loc, "first_unit_id" if loc[0] == "device_series" and key == "unit_id" else key), text


_CALLED_BY: Final = {"modbus": "unit_id", "dlt645": "address", "cjt188": "address"}
"""How a meter of each protocol is called on its line."""
_DIGITS: Final = {"dlt645": 12, "cjt188": 14}
"""Of the address of a meter that is called by its number."""
_SPOKEN_ON: Final = {
    "modbus-tcp": ("modbus",),
    "bus": ("modbus", "dlt645", "cjt188"),
    "coap-server": ("senml",),
    "coap-client": ("senml",),
}
"""Which protocols each kind of line carries."""


def _station_finding(
    line: LineSettings, device: DeviceSettings | CoapDevice, template: DeviceTemplate, stations: _Stations
) -> tuple[str, str]:
    """(key, what was expected there) of what is wrong with how the device is called; an empty text when nothing is."""
    protocol = template.protocol
    if protocol not in _SPOKEN_ON[line.protocol]:
        spoken = " or ".join(_SPOKEN_ON[line.protocol])
        return "template", f"a template of {spoken} on a {line.protocol} line, {device.template} speaks {protocol}"
    if isinstance(device, CoapDevice):
        return "", ""  # it is known by its code or its address, which its line judges
    key = _CALLED_BY[protocol]
    station = getattr(device, key)
    if station is None:
        return key, f"this key is required, {device.template} speaks {protocol}"
    if protocol in _DIGITS and len(station) != _DIGITS[protocol]:
        return key, f"{_DIGITS[protocol]} digits, {device.template} speaks {protocol}"
    if device.password is not None and protocol != "dlt645":
        return "password", f"no password, {device.template} speaks {protocol}"
    return _instance_finding(device, template, key, stations.setdefault((protocol, station), set()))


def _instance_finding(
    device: DeviceSettings, template: DeviceTemplate, key: str, on_station: set[tuple[str, int]]
) -> tuple[str, str]:
    """Meters share a station only as instances, each of them once; they may be those of several templates."""
    instances = template.instances if isinstance(template, ModbusTemplate) else None
    count = instances.count if instances is not None else 1
    if device.instance >= count:
        return "instance", f"at most {count - 1} for {device.template}"
    if (device.template, device.instance) in on_station or (on_station and instances is None):
        return key, _once(f"{key.replace('_', ' ')} of a line", getattr(device, key))
    on_station.add((device.template, device.instance))
    return key, ""


def json_schemas() -> dict[str, str]:
    """JSON Schemas for editors, by file name in `firmware-config/schema`."""
    return {
        "meter-template.schema.json": _schema(meter_schema(), "Meter template"),
        "configuration.schema.json": _schema(RemotePart.model_json_schema(), "Configuration of a gateway by the cloud"),
        "site.schema.json": _schema(SiteSettings.model_json_schema(), "Site"),
    }


def _schema(body: dict[str, Any], title: str) -> str:
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **body}
    schema["title"] = title
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
