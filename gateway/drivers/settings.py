"""What a site file says about its lines and the meters on them, whatever their protocol."""

import itertools
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from gateway.contract.limits import MAX_CODE_CHARS
from gateway.drivers.base import Group
from gateway.drivers.dlt645.secret import MeterPassword
from gateway.templates.base import Strict
from gateway.templates.report import ReportSettings

_CODE_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
Code = Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARS, pattern=_CODE_PATTERN)]
UnitId = Annotated[int, Field(ge=0, le=255)]
BusAddress = Annotated[str, Field(pattern=r"^[0-9]{12}([0-9]{2})?$")]
Seconds = Annotated[float, Field(gt=0, le=86_400)]
Host = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65_535)]


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
    unit_id: UnitId | None = None
    """Station number on a Modbus line."""
    instance: Annotated[int, Field(ge=0, le=127)] = 0
    """Which of the meters that a unit holds, for a template with `instances`."""
    address: BusAddress | None = None
    """Address of a meter that is called by its number (DL/T 645: 12 digits, CJ/T 188: 14)."""
    password: MeterPassword | None = None
    """Where the password of a DL/T 645 meter is; without it the meter is only read."""
    periods: Periods | None = None
    """The site's periods when absent."""
    report: ReportSettings | None = None
    """Report by exception; what is given here goes before the site's."""


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
    report: ReportSettings | None = None

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
                report=self.report,
            )

    def _values(self, name: str) -> list[str]:
        low, high = self.ranges[name].split("..")
        return [f"{value:0{len(low)}}" for value in range(int(low), int(high) + 1)]


class MeterLineSettings(Strict):
    """A line with meters that are asked one after the other: what all kinds of it share."""

    name: Code
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 1.0
    """How long a device may take to begin its answer."""
    devices: tuple[DeviceSettings, ...] = ()
    device_series: tuple[DeviceSeries, ...] = ()

    def all_devices(self) -> Iterator[tuple[DeviceSettings, tuple[int | str, ...]]]:
        """Every device, with the place in the line's settings that names it."""
        for index, device in enumerate(self.devices):
            yield device, ("devices", index)
        for index, series in enumerate(self.device_series):
            for device in series.expand():
                yield device, ("device_series", index)


class TlsSettings(Strict):
    """Modbus Security: TLS on both sides, each proven by a certificate."""

    ca_file: Path
    """Authority of the device's certificate."""
    cert_file: Path
    key_file: Path
    server_name: Host | None = None
    """Name in the device's certificate, when it is not the host."""


class ModbusTcpLineSettings(MeterLineSettings):
    """One Modbus TCP connection: a meter, or a converter that translates to a bus behind it."""

    protocol: Literal["modbus-tcp"]
    host: Host
    port: Port = 502
    tls: TlsSettings | None = None
    """Plain TCP when absent; Modbus Security usually listens on 802."""

    @property
    def endpoint(self) -> tuple[str, str]:
        """(key, what only one line may own)."""
        return "port", f"{self.host}:{self.port}"


class SerialPort(Strict):
    """A serial port of this machine and how its bits are framed."""

    path: Annotated[str, Field(min_length=1)]
    """Such as /dev/ttyUSB0, better a name below /dev/serial/by-id."""
    baud_rate: Annotated[int, Field(ge=300, le=921_600)] = 9_600
    data_bits: Literal[7, 8] = 8
    parity: Literal["none", "even", "odd"] = "none"
    stop_bits: Literal[1, 2] = 1

    @property
    def character_s(self) -> float:
        """Time of one character on the wire: start, data, parity and stop bits."""
        return (1 + self.data_bits + (self.parity != "none") + self.stop_bits) / self.baud_rate


class Converter(Strict):
    """A serial server that passes the bytes of a bus through over TCP, unchanged."""

    host: Host
    port: Port
    baud_rate: Annotated[int, Field(ge=300, le=921_600)] = 9_600
    """Of the bus behind it: reads are merged by what they cost there."""

    @property
    def character_s(self) -> float:
        """Time of one character on the bus, at 8 data bits with a stop bit, the most common framing."""
        return 10 / self.baud_rate


class BusLineSettings(MeterLineSettings):
    """One RS-485 bus. Modbus, DL/T 645 and CJ/T 188 meters may share it; each device's template says which it is."""

    protocol: Literal["bus"]
    serial: SerialPort | None = None
    converter: Converter | None = None
    modbus_framing: Literal["rtu", "ascii"] = "rtu"
    silence_ms: Annotated[int, Field(ge=0, le=1_000)] | None = None
    """Rest between two frames; 3.5 characters when absent (1.75 ms above 19,200 baud)."""
    late_answer_s: Annotated[float, Field(gt=0, le=60)] = 2.0
    """Nothing arrives later than this after its question: the one thing that a bus must know to tell every answer from
    any other. Until it has passed after a timeout, nothing is asked whose answer could be mistaken for the missing one,
    but the same once more. It costs time only where a device's reads have equal sizes. Never less than the timeout."""

    @model_validator(mode="after")
    def _one_medium(self) -> Self:
        if (self.serial is None) == (self.converter is None):
            raise ValueError("expected one of serial and converter")
        return self

    @property
    def endpoint(self) -> tuple[str, str]:
        """(key, what only one line may own)."""
        if self.serial is not None:
            return "serial", self.serial.path
        assert self.converter is not None
        return "converter", f"{self.converter.host}:{self.converter.port}"
