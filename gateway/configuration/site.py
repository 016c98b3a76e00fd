"""The part of a site that may come from afar, and how it is laid over the site file of the gateway."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from gateway.contract.configuration import Configuration
from gateway.drivers.coap.settings import CoapServerLineSettings
from gateway.drivers.line_kinds import LineSettings
from gateway.drivers.settings import BusLineSettings, MeterLineSettings, ModbusTcpLineSettings
from gateway.errors import ConfigError, Problem
from gateway.settings import RemotePart, SiteSettings, whole_findings
from gateway.templates.library import Library
from gateway.templates.located import Finding, load_located
from gateway.uplink.settings import MqttEndpoint

CHANGEABLE: Final = frozenset({*RemotePart.model_fields, "cloud_keys", "remote_configuration"})
"""Keys of the site file that take effect while the gateway runs; all others need a restart."""

_SECRETS: Final = ("password_env", "password_file", "ca_file", "cert_file", "key_file")


@dataclass(frozen=True, slots=True)
class Running:
    """A site and the templates that its meters have."""

    site: SiteSettings
    library: Library


def merged(local: SiteSettings, remote: RemotePart) -> SiteSettings:
    """The site file with the keys that the cloud gives in place of its own."""
    return local.model_copy(update={key: getattr(remote, key) for key in remote.model_fields_set})


def unpacked(configuration: Configuration, directory: Path, local: SiteSettings, library: Library) -> Running:
    """Writes a configuration's files into `directory` and reads it as a whole site laid over `local`.

    Raises ConfigError with every problem; the paths in it begin with `directory`. Raises OSError.
    """
    file, templates = directory / "site.yaml", directory / "templates"
    texts = {templates / f"{template}.yaml": text.encode() for template, text in configuration.templates.items()}
    _lay_out(directory, {file: configuration.site.encode()} | texts)
    both = Library(library.directory, beside=templates)
    problems: list[Problem] = []
    for template in configuration.templates:
        try:
            both.meter(template)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(tuple(problems))
    remote = load_located(file, lambda _: RemotePart, lambda part: _findings(part, local, both))
    return Running(merged(local, remote), both)


def _lay_out(directory: Path, texts: Mapping[Path, bytes]) -> None:
    """Not again when all is there: a full disk keeps nobody from starting with what he ran with."""
    try:
        if {file: file.read_bytes() for file in directory.rglob("*.yaml")} == texts:
            return
    except OSError:
        pass
    shutil.rmtree(directory, ignore_errors=True)
    for file, text in texts.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(text)


def told(error: ConfigError, directory: Path) -> str:
    """All problems of a configuration for people who do not know where it lies on the gateway."""
    return str(error).replace(f"{directory}/", "")


def fixed_keys(old: SiteSettings, new: SiteSettings) -> tuple[str, ...]:
    """Keys that differ between two site files and cannot change while the gateway runs."""
    fields = [name for name in SiteSettings.model_fields if name not in CHANGEABLE]
    return tuple(name for name in fields if getattr(old, name) != getattr(new, name))


def _findings(remote: RemotePart, local: SiteSettings, library: Library) -> Iterable[Finding]:
    yield from whole_findings(merged(local, remote), library)
    yield from _secrets(remote, local)


def _secrets(remote: RemotePart, local: SiteSettings) -> Iterator[Finding]:
    """Whoever may configure from afar must not send passwords and keys of this machine to a host of his choice."""
    known = [barrier.broker for barrier in local.barriers]
    for number, barrier in enumerate(remote.barriers):
        if _has_secrets(barrier.broker) and barrier.broker not in known:
            yield ("barriers", number, "broker"), "no password or key, or a broker that the site file has like this"
    known_lines = [secret for line in local.lines for _, secret in _secrets_of(line)]
    for number, line in enumerate(remote.lines):
        for loc, secret in _secrets_of(line):
            if secret not in known_lines:
                yield ("lines", number, *loc), f"no {loc[-1]}, or one that the site file has like this at this place"
        if isinstance(line, BusLineSettings) and line.serial is not None and not _is_device(line.serial.path):
            yield ("lines", number, "serial", "path"), "a port below /dev/"


def _secrets_of(line: LineSettings) -> Iterator[tuple[tuple[int | str, ...], tuple[object, ...]]]:
    """(where it stands in the line, the secret with all that says whom it is shown to)."""
    if isinstance(line, ModbusTcpLineSettings) and line.tls is not None:
        yield ("tls",), (line.endpoint, line.tls)
    if isinstance(line, CoapServerLineSettings) and line.tokens_file is not None:
        yield ("tokens_file",), (line.endpoint, line.tokens_file)
    if isinstance(line, MeterLineSettings):
        for device, loc in line.all_devices():
            if device.password is not None:
                yield (*loc, "password"), (line.endpoint, device.address, device.password)


def _has_secrets(endpoint: MqttEndpoint) -> bool:
    return any(getattr(endpoint, name) is not None for name in _SECRETS)


def _is_device(path: str) -> bool:
    return path.startswith("/dev/") and ".." not in Path(path).parts
