"""The site file: everything that one gateway is told. Wrong in any key, and the process does not start."""

import base64
import binascii
import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, Field, ValidationError, model_validator

from gateway.contract.limits import MAX_CODE_CHARS, MAX_POINTS_PER_BATCH
from gateway.drivers.barrier.settings import BarrierLineSettings
from gateway.drivers.base import Group
from gateway.templates.library import meter_ids
from gateway.templates.located import Finding, load_located
from gateway.templates.model import MeterTemplate, Strict
from gateway.uplink.settings import BrokerSettings

_CODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Code = Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARS, pattern=_CODE_PATTERN)]
UnitId = Annotated[int, Field(ge=0, le=255)]
Seconds = Annotated[float, Field(gt=0, le=86_400)]


def _ed25519_public_key(text: str) -> str:
    try:
        raw = base64.b64decode(text, validate=True)
    except binascii.Error:
        raw = b""
    if len(raw) != 32:
        raise ValueError("expected 32 bytes in base64: a raw Ed25519 public key")
    return text


PublicKey = Annotated[str, AfterValidator(_ed25519_public_key)]


class Periods(Strict):
    """How often each group of channels is read, aligned to the wall clock."""

    billing_s: Seconds = 60.0
    """Cumulative registers."""
    instant_s: Seconds = 15.0
    """Momentary values and states."""

    def in_ms(self) -> dict[Group, int]:
        """Period of each group in milliseconds, at least 1."""
        seconds = {Group.BILLING: self.billing_s, Group.INSTANT: self.instant_s}
        return {group: max(1, round(period * 1000)) for group, period in seconds.items()}


class DeviceSettings(Strict):
    """One meter on a line."""

    id: Code
    template: str
    unit_id: UnitId
    periods: Periods | None = None
    """The site's periods when absent."""


_RANGE = re.compile(r"(\d{1,5})\.\.(\d{1,5})")


def _range_text(text: str) -> str:
    match = _RANGE.fullmatch(text)
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError("expected a rising range such as '01..10'; the width of the first number is kept")
    return text


class DeviceSeries(Strict):
    """Many meters of one template: one for every combination of the ranges, the last range turning fastest.

    `id: "e-1-{floor}{flat}"` with `ranges: {floor: "01..10", flat: "01..04"}` names e-1-0101 … e-1-1004.
    """

    id: str
    template: str
    first_unit_id: UnitId = 1
    ranges: Annotated[dict[str, Annotated[str, AfterValidator(_range_text)]], Field(min_length=1)]
    periods: Periods | None = None

    @model_validator(mode="after")
    def _named(self) -> Self:
        wanted, given = set(re.findall(r"\{(\w+)\}", self.id)), set(self.ranges)
        if wanted != given:
            raise ValueError(f"expected id to use each of {{{', '.join(sorted(given))}}} in braces, and no other")
        total = math.prod(len(self._values(name)) for name in self.ranges)
        if self.first_unit_id + total - 1 > 255:
            raise ValueError(f"expected at most {256 - self.first_unit_id} devices, the ranges give {total}")
        return self

    def expand(self) -> Iterator[DeviceSettings]:
        """The devices in order of their unit ids. Raises ValidationError when an id is no code."""
        names = list(self.ranges)
        for number, values in enumerate(itertools.product(*(self._values(name) for name in names))):
            yield DeviceSettings(
                id=self.id.format_map(dict(zip(names, values, strict=True))),
                template=self.template,
                unit_id=self.first_unit_id + number,
                periods=self.periods,
            )

    def _values(self, name: str) -> list[str]:
        low, high = self.ranges[name].split("..")
        return [f"{value:0{len(low)}}" for value in range(int(low), int(high) + 1)]


class ModbusTcpLineSettings(Strict):
    """One Modbus TCP connection: a meter, or a converter with a bus behind it."""

    name: Code
    protocol: Literal["modbus-tcp"]
    host: Annotated[str, Field(min_length=1)]
    port: Annotated[int, Field(ge=1, le=65_535)] = 502
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How long a device may take to answer."""
    devices: tuple[DeviceSettings, ...] = ()
    device_series: tuple[DeviceSeries, ...] = ()

    def all_devices(self) -> Iterator[tuple[DeviceSettings, tuple[int | str, ...]]]:
        """Every device, with the place in the line's settings that names it."""
        for index, device in enumerate(self.devices):
            yield device, ("devices", index)
        for index, series in enumerate(self.device_series):
            for device in series.expand():
                yield device, ("device_series", index)


class RecorderSettings(Strict):
    """How points become batches."""

    max_points: Annotated[int, Field(ge=1, le=MAX_POINTS_PER_BATCH)] = 200
    linger_s: Annotated[float, Field(gt=0, le=60)] = 1.0


class SiteSettings(Strict):
    """A whole site."""

    project: Code
    gateway: Code
    state_directory: Path
    """Where the outbox lives; relative to the working directory."""
    broker: BrokerSettings
    cloud_keys: dict[Code, PublicKey] = Field(default_factory=dict)
    """Who may command: key id to raw Ed25519 public key in base64."""
    periods: Periods = Periods()
    recorder: RecorderSettings = RecorderSettings()
    outbox_max_bytes: Annotated[int, Field(ge=1_000_000)] = 512 * 1024 * 1024
    health_port: Annotated[int, Field(ge=0, le=65_535)] | None = None
    """Prometheus metrics on 127.0.0.1; no metrics when absent, any free port when 0."""
    health_period_s: Seconds = 60.0
    lines: tuple[ModbusTcpLineSettings, ...] = ()
    barriers: tuple[BarrierLineSettings, ...] = ()


def load_site(path: Path, templates: Path | None = None) -> SiteSettings:
    """Reads and checks a site file. Raises ConfigError naming file, line, key and expectation of each problem."""
    known = frozenset(meter_ids(templates))
    return load_located(path, SiteSettings, lambda site: _whole(site, known))


def _whole(site: SiteSettings, known: frozenset[str]) -> Iterable[Finding]:
    """What no single key shows: codes used twice, unknown templates, two owners of one connection."""
    seen_lines: set[str] = set()
    seen_addresses: set[tuple[str, int]] = set()
    seen_devices: set[str] = set()
    for number, line in enumerate(site.lines):
        here = ("lines", number)
        if line.name in seen_lines:
            yield (*here, "name"), _once("line name", line.name)
        if (line.host, line.port) in seen_addresses:
            yield (*here, "port"), f"one line per connection, {line.host}:{line.port} has one already"
        seen_lines.add(line.name)
        seen_addresses.add((line.host, line.port))
        for loc, text in _line_findings(line, known, seen_devices):
            yield (*here, *loc), text
    for number, barrier in enumerate(site.barriers):
        for position, lane in enumerate(barrier.lanes):
            if lane.device in seen_devices:
                yield ("barriers", number, "lanes", position, "device"), _once("device", lane.device)
            seen_devices.add(lane.device)


def _once(what: str, value: object) -> str:
    return f"each {what} once, {value} is repeated"


def _line_findings(line: ModbusTcpLineSettings, known: frozenset[str], seen: set[str]) -> Iterable[Finding]:
    units: set[int] = set()
    try:
        devices = list(line.all_devices())
    except ValidationError as error:
        yield ("device_series",), f"device codes of letters, digits, '.', '_', '-': {error.errors()[0]['msg']}"
        return
    told: set[tuple[int | str, ...]] = set()
    for device, loc in devices:
        if device.template not in known and loc not in told:
            told.add(loc)
            yield (*loc, "template"), f"one of {', '.join(sorted(known))}, found {device.template!r}"
        if device.id in seen:
            yield (*loc, "id"), _once("device id", device.id)
        if device.unit_id in units:
            key = "unit_id" if loc[0] == "devices" else "first_unit_id"
            yield (*loc, key), _once("unit id of a line", device.unit_id)
        seen.add(device.id)
        units.add(device.unit_id)


def json_schemas() -> dict[str, str]:
    """JSON Schemas for editors, by file name in `firmware-config/schema`."""
    return {
        "meter-template.schema.json": _schema(MeterTemplate, "Meter template"),
        "site.schema.json": _schema(SiteSettings, "Site"),
    }


def _schema(model: type[BaseModel], title: str) -> str:
    schema: dict[str, Any] = {"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()}
    schema["title"] = title
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
