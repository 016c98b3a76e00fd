"""Templates that tests need by name."""

import re
from typing import Final, TypeVar

from gateway.templates.base import DeviceTemplate
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate

T = TypeVar("T", bound=DeviceTemplate)

LIBRARY = Library()

_PROTOCOL: Final = re.compile(r"^protocol: *(\w+)", re.MULTILINE)


def _of(kind: type[T], template_id: str) -> T:
    template = LIBRARY.meter(template_id)
    assert isinstance(template, kind)
    return template


def ids_of(protocol: str) -> list[str]:
    """Ids of the templates of one protocol.

    By their text: every worker asks while it collects, and to load them all takes a second and a half.
    """
    return [template_id for template_id in LIBRARY.ids if _protocol_of(template_id) == protocol]


def _protocol_of(template_id: str) -> str:
    told = _PROTOCOL.search((LIBRARY.directory / f"{template_id}.yaml").read_text("utf-8"))
    return told[1] if told else "modbus"


def modbus(template_id: str) -> ModbusTemplate:
    """A Modbus template that comes with the software."""
    return _of(ModbusTemplate, template_id)


def dlt645(template_id: str) -> Dlt645Template:
    """A DL/T 645 template that comes with the software."""
    return _of(Dlt645Template, template_id)


def cjt188(template_id: str) -> Cjt188Template:
    """A CJ/T 188 template that comes with the software."""
    return _of(Cjt188Template, template_id)
