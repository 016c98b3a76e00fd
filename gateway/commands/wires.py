"""Options that name a line and a device without a site file, for the tools on site."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gateway.commands.options import refuse

if TYPE_CHECKING:
    from gateway.drivers.line_kinds import PolledLineSettings
    from gateway.drivers.settings import DeviceSettings
    from gateway.templates.library import Library


class Parity(StrEnum):
    """Of a serial port."""

    NONE = "none"
    EVEN = "even"
    ODD = "odd"


class FramingName(StrEnum):
    """How Modbus goes over a bus."""

    RTU = "rtu"
    ASCII = "ascii"


Site = Annotated[Path | None, typer.Option(help="Site file that has the line.")]
Tcp = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="Modbus TCP.")]
RtuTcp = Annotated[str | None, typer.Option(metavar="HOST:PORT", help="A serial server that passes a bus through.")]
Serial = Annotated[str | None, typer.Option(metavar="PATH", help="A serial port; the gateway must not be using it.")]
Baud = Annotated[int, typer.Option(min=300, max=921_600, help="Of the bus.")]
DataBits = Annotated[int, typer.Option(min=7, max=8, help="Of the serial port.")]
ParityOption = Annotated[Parity, typer.Option(help="Of the serial port.")]
StopBits = Annotated[int, typer.Option(min=1, max=2, help="Of the serial port.")]
FramingOption = Annotated[FramingName, typer.Option(help="Of Modbus on a bus.")]


@dataclass(frozen=True, slots=True)
class Wire:
    """What the options say of a line."""

    tcp: str | None
    rtu_tcp: str | None
    serial: str | None
    baud: int
    data_bits: int
    parity: str
    stop_bits: int
    framing: str
    timeout_s: float
    late_answer_s: float = 2.0

    @property
    def given(self) -> int:
        """How many lines the options name."""
        return sum(one is not None for one in (self.tcp, self.rtu_tcp, self.serial))

    def settings(self) -> "PolledLineSettings":
        """The line. Ends the command when it is none."""
        from pydantic import ValidationError

        from gateway.drivers.settings import BusLineSettings, ModbusTcpLineSettings

        if self.given != 1:
            refuse("expected one of --site, --tcp, --rtu-tcp and --serial")
        document: dict[str, Any] = {"name": "line", "timeout_s": self.timeout_s}
        try:
            if self.tcp is not None:
                host, port = _address(self.tcp)
                return ModbusTcpLineSettings(protocol="modbus-tcp", host=host, port=port, **document)
            document |= {"protocol": "bus", "modbus_framing": self.framing}
            document["late_answer_s"] = max(self.late_answer_s, self.timeout_s)
            if self.rtu_tcp is not None:
                host, port = _address(self.rtu_tcp)
                document["converter"] = {"host": host, "port": port, "baud_rate": self.baud}
            else:
                document["serial"] = {
                    "path": self.serial,
                    "baud_rate": self.baud,
                    "data_bits": self.data_bits,
                    "parity": self.parity,
                    "stop_bits": self.stop_bits,
                }
            return BusLineSettings.model_validate(document)
        except ValidationError as error:
            refuse(str(error))


def _address(text: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 1 <= int(port) <= 65_535:
        refuse(f"expected HOST:PORT such as 192.0.2.7:502, found {text!r}")
    return host.strip("[]"), int(port)


def line_of_site(site: Path, line: str, library: "Library") -> "PolledLineSettings":
    """A line of a site file by its name. Ends the command when there is none."""
    found = next((one for one in _lines_of(site, library) if one.name == line), None)
    if found is None:
        refuse(f"{site} has no line {line} with meters that can be asked")
    return found


def device_of_site(site: Path, device: str, library: "Library") -> "tuple[PolledLineSettings, DeviceSettings]":
    """A device of a site file by its id, and its line. Ends the command when there is none."""
    owned = ((line, one) for line in _lines_of(site, library) for one, _ in line.all_devices())
    found = next((pair for pair in owned if pair[1].id == device), None)
    if found is None:
        refuse(f"{site} has no device {device} that can be asked")
    return found


def _lines_of(site: Path, library: "Library") -> "list[PolledLineSettings]":
    """Lines whose meters can be asked; those of CoAP speak by themselves."""
    from gateway.drivers.line_kinds import PolledLineSettings
    from gateway.errors import ConfigError
    from gateway.settings import load_site

    try:
        return [line for line in load_site(site, library).lines if isinstance(line, PolledLineSettings)]
    except ConfigError as error:
        refuse(str(error))
