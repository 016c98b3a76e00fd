"""Finds and loads the templates of `firmware-config/`; a template's id is its file name without the ending."""

from collections.abc import Iterable
from pathlib import Path

import gateway
from gateway.templates.located import Finding, load_located
from gateway.templates.model import MeterTemplate


def firmware_config() -> Path:
    """The directory that lies beside the packages, in the repository and in an installed wheel alike."""
    return Path(gateway.__file__).parents[1] / "firmware-config"


def meter_ids(directory: Path | None = None) -> tuple[str, ...]:
    """Ids of all meter templates in `directory` (default: those that come with the software), sorted."""
    return tuple(sorted(path.stem for path in (directory or firmware_config() / "meters").glob("*.yaml")))


def load_meter(template_id: str, directory: Path | None = None) -> MeterTemplate:
    """One template by its id. Raises ConfigError."""
    return load_meter_file((directory or firmware_config() / "meters") / f"{template_id}.yaml")


def load_meter_file(path: Path) -> MeterTemplate:
    """One template by its file. Raises ConfigError with every problem in it."""
    return load_located(path, MeterTemplate, _whole)


def _whole(template: MeterTemplate) -> Iterable[Finding]:
    """What only the whole template shows: repeated channels, values longer than a read may be."""
    seen: set[str] = set()
    for index, register in enumerate(template.registers):
        if register.channel in seen:
            yield ("registers", index, "channel"), f"each channel once, {register.channel} is repeated"
        seen.add(register.channel)
        if register.type.registers > template.limits.max_registers:
            text = f"a value of at most {template.limits.max_registers} registers (limits.max_registers)"
            yield ("registers", index, "type"), text
