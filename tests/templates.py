"""Templates that tests need by name."""

from typing import TypeVar

from gateway.templates.base import DeviceTemplate
from gateway.templates.cjt188 import Cjt188Template
from gateway.templates.dlt645 import Dlt645Template
from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate

T = TypeVar("T", bound=DeviceTemplate)

LIBRARY = Library()


def _of(kind: type[T], template_id: str) -> T:
    template = LIBRARY.meter(template_id)
    assert isinstance(template, kind)
    return template


def ids_of(protocol: str) -> list[str]:
    """Ids of the templates of one protocol."""
    return [template_id for template_id in LIBRARY.ids if LIBRARY.meter(template_id).protocol == protocol]


def modbus(template_id: str) -> ModbusTemplate:
    """A Modbus template that comes with the software."""
    return _of(ModbusTemplate, template_id)


def dlt645(template_id: str) -> Dlt645Template:
    """A DL/T 645 template that comes with the software."""
    return _of(Dlt645Template, template_id)


def cjt188(template_id: str) -> Cjt188Template:
    """A CJ/T 188 template that comes with the software."""
    return _of(Cjt188Template, template_id)
