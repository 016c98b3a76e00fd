"""Modbus lines as the gateway builds them, for tests that ask by themselves."""

from gateway.drivers.modbus.line import ModbusLine
from gateway.drivers.settings import ModbusTcpLineSettings
from gateway.lines import modbus_on


def tcp_line(host: str, port: int, timeout_s: float) -> ModbusLine:
    """A Modbus TCP line; nothing is opened yet."""
    return modbus_on(
        ModbusTcpLineSettings(name="test", protocol="modbus-tcp", host=host, port=port, timeout_s=timeout_s)
    )
