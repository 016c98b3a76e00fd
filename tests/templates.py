"""Templates that tests need by name."""

from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate

LIBRARY = Library()


def ids_of(protocol: str) -> list[str]:
    """Ids of the templates of one protocol."""
    return [template_id for template_id in LIBRARY.ids if LIBRARY.meter(template_id).protocol == protocol]


def modbus(template_id: str) -> ModbusTemplate:
    """A Modbus template that comes with the software."""
    template = LIBRARY.meter(template_id)
    assert isinstance(template, ModbusTemplate)
    return template
