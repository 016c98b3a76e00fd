"""Templates that tests need by name."""

from gateway.templates.library import Library
from gateway.templates.modbus import ModbusTemplate

LIBRARY = Library()


def modbus(template_id: str) -> ModbusTemplate:
    """A Modbus template that comes with the software."""
    template = LIBRARY.meter(template_id)
    assert isinstance(template, ModbusTemplate)
    return template
