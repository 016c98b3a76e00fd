"""Finds and loads the templates of `firmware-config/`; a template's id is its file name without the ending."""

from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter

import gateway
from gateway.templates.base import DeviceTemplate
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.located import Finding, load_located
from gateway.templates.modbus import ModbusTemplate
from gateway.templates.senml import SenmlTemplate

MeterTemplate = Annotated[
    ModbusTemplate | SenmlTemplate | Dlt645Template | Cjt188Template, Field(discriminator="protocol")
]
"""Every kind of meter template; the key `protocol` tells which."""

_DEFAULT: Final = "modbus"
_BY_PROTOCOL: Final[dict[str, type[DeviceTemplate]]] = {
    "modbus": ModbusTemplate,
    "senml": SenmlTemplate,
    "dlt645": Dlt645Template,
    "cjt188": Cjt188Template,
}


def firmware_config() -> Path:
    """The directory that lies beside the packages, in the repository and in an installed wheel alike."""
    return Path(gateway.__file__).parents[1] / "firmware-config"


class Library:
    """The meter templates of one directory (default: those that come with the software), each loaded once.

    A template in `beside` wins over one with its id in the directory.
    """

    def __init__(self, directory: Path | None = None, beside: Path | None = None) -> None:
        self.directory = directory or firmware_config() / "meters"
        self._beside = beside
        self._loaded: dict[str, DeviceTemplate] = {}

    @cached_property
    def ids(self) -> tuple[str, ...]:
        """Ids of all templates, sorted."""
        directories = (self.directory,) if self._beside is None else (self.directory, self._beside)
        return tuple(sorted({path.stem for directory in directories for path in directory.glob("*.yaml")}))

    def meter(self, template_id: str) -> DeviceTemplate:
        """One template by its id. Raises ConfigError with every problem in its file."""
        if template_id not in self._loaded:
            self._loaded[template_id] = load_meter_file(self._file(template_id))
        return self._loaded[template_id]

    def _file(self, template_id: str) -> Path:
        name = f"{template_id}.yaml"
        beside = None if self._beside is None else self._beside / name
        return beside if beside is not None and beside.exists() else self.directory / name


def load_meter_file(path: Path) -> DeviceTemplate:
    """One template by its file. Raises ConfigError with every problem in it."""
    return load_located(path, _model_of, lambda template: template.findings())


def meter_schema() -> dict[str, Any]:
    """JSON Schema of all kinds of meter templates."""
    return TypeAdapter[Any](MeterTemplate).json_schema()


def _model_of(document: dict[str, Any]) -> type[DeviceTemplate] | Finding:
    protocol = document.get("protocol", _DEFAULT)
    found = _BY_PROTOCOL.get(protocol) if isinstance(protocol, str) else None
    return found or (("protocol",), f"one of {', '.join(_BY_PROTOCOL)}, found {protocol!r}")
