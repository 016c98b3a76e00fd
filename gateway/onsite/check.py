"""What a site file that is right as such still lacks on this machine, and how full its lines will be."""

import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from gateway.drivers.base import Groups
from gateway.drivers.bus.bus import Timing
from gateway.drivers.coap.settings import CoapServerLineSettings
from gateway.drivers.coap.tokens import TokensUnusable, load_tokens
from gateway.drivers.dlt645.secret import PasswordMissing
from gateway.drivers.line_kinds import LineSettings, PolledLineSettings
from gateway.drivers.modbus.program import Member
from gateway.drivers.settings import BusLineSettings, DeviceSettings, ModbusTcpLineSettings
from gateway.lines import programs_for, timing_of
from gateway.onsite.load import DeviceLoad, Exchange, LineLoad, item_visits, line_load, modbus_visits
from gateway.settings import SiteSettings
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate
from gateway.uplink.settings import CredentialsMissing

_NEARLY_FULL: Final = 0.8


@dataclass(frozen=True, slots=True)
class LineSummary:
    """One line as it is planned."""

    line: str
    endpoint: str
    devices: int
    requests_per_s: float
    utilisation: float
    """Computed share of the time; above 1 the periods cannot be kept."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What was found."""

    lines: list[LineSummary]
    warnings: list[str]

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"summary": [asdict(line) for line in self.lines], "warnings": self.warnings}


def check(site: SiteSettings, library: Library, turnaround_s: float) -> Checked:
    """Looks at every line, secret and file of `site`. `turnaround_s` is what a device takes to begin its answer."""
    lines = [summary(line, site, library, turnaround_s) for line in site.lines]
    warnings = [*_crowded(lines), *_secrets(site), *_paths(site)]
    return Checked(lines, warnings)


def summary(line: LineSettings, site: SiteSettings, library: Library, turnaround_s: float) -> LineSummary:
    """How full one line will be; one that meters push to, or that observes them, asks for nothing by itself."""
    if not isinstance(line, PolledLineSettings):
        return LineSummary(line.name, line.endpoint[1], len(line.devices), 0.0, 0.0)
    timing = timing_of(line) if isinstance(line, BusLineSettings) else Timing(line.timeout_s)
    devices = [device for device, _ in line.all_devices()]
    load: LineLoad = line_load(list(_loads(devices, line, site, library)), timing, turnaround_s)
    return LineSummary(line.name, line.endpoint[1], len(devices), round(load.requests_per_s, 3), round(load.busy, 4))


def _loads(
    devices: Sequence[DeviceSettings], line: PolledLineSettings, site: SiteSettings, library: Library
) -> Iterator[DeviceLoad]:
    """What each device asks for; those of one unit are read together."""
    text = isinstance(line, BusLineSettings) and line.modbus_framing == "ascii"
    units: dict[int, list[tuple[DeviceSettings, Member]]] = {}
    for device in devices:
        template = library.meter(device.template)
        if isinstance(template, ModbusTemplate):
            assert device.unit_id is not None
            units.setdefault(device.unit_id, []).append((device, Member(template, device.instance)))
        else:
            yield _load(item_visits(template), [device], site)
    for unit in units.values():
        programs = programs_for(line, [member for _, member in unit])
        yield _load(modbus_visits(programs, text), [device for device, _ in unit], site)


def _load(visits: dict[Groups, list[Exchange]], devices: Sequence[DeviceSettings], site: SiteSettings) -> DeviceLoad:
    """Of devices that are read together; the one that is read most often says how often."""
    wanted = {group for groups, exchanges in visits.items() if exchanges for group in groups}
    periods = [(device.periods or site.periods).in_ms() for device in devices]
    return DeviceLoad(visits, {group: min(one[group] for one in periods) for group in sorted(wanted)})


def _crowded(lines: list[LineSummary]) -> Iterator[str]:
    for line in lines:
        if line.utilisation > 1:
            yield f"line {line.line} cannot keep its periods: they ask for {line.utilisation:.0%} of its time"
        elif line.utilisation > _NEARLY_FULL:
            yield f"line {line.line} has little room for repetitions and commands: {line.utilisation:.0%} of its time"


def _secrets(site: SiteSettings) -> Iterator[str]:
    brokers = [("broker", site.broker), *((f"barriers {one.name}", one.broker) for one in site.barriers)]
    for where, broker in brokers:
        for read in (broker.password, broker.tls_context):
            try:
                read()
            except CredentialsMissing as error:
                yield f"{where}: {error}"
    for line in site.lines:
        yield from _secrets_of_line(line)
    if not site.cloud_keys:
        yield "cloud_keys is empty: no command of the cloud will be carried out"


def _secrets_of_line(line: LineSettings) -> Iterator[str]:
    """Passwords and tokens of its meters."""
    if isinstance(line, CoapServerLineSettings):
        try:
            load_tokens(line.tokens_file, {device.id for device in line.devices})
        except TokensUnusable as error:
            yield f"line {line.name}: {error}"
    elif isinstance(line, PolledLineSettings):
        for device, _ in line.all_devices():
            try:
                if device.password is not None:
                    device.password.read()
            except PasswordMissing as error:
                yield f"device {device.id} can only be read: {error}"


def _paths(site: SiteSettings) -> Iterator[str]:
    parent = next(one for one in (site.state_directory, *site.state_directory.absolute().parents) if one.exists())
    if not parent.is_dir():
        yield f"state_directory: {parent} is no directory"
    for line in site.lines:
        if isinstance(line, ModbusTcpLineSettings) and line.tls is not None:
            for file in (line.tls.ca_file, line.tls.cert_file, line.tls.key_file):
                if not file.is_file():
                    yield f"line {line.name}: {file} is not there"
        if isinstance(line, BusLineSettings) and line.serial is not None:
            yield from _port(line.name, Path(line.serial.path))


def _port(line: str, path: Path) -> Iterator[str]:
    try:
        mode = path.stat().st_mode
    except OSError as error:
        yield f"line {line}: serial port {path}: {error.strerror}"
        return
    if not stat.S_ISCHR(mode):
        yield f"line {line}: {path} is no serial port"
