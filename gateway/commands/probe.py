"""`gatemeter gateway probe`."""

from typing import TYPE_CHECKING, Annotated

import typer

from gateway.commands.options import TROUBLE, AsJson, Templates, print_json, refuse
from gateway.commands.wires import (
    Baud,
    DataBits,
    FramingName,
    FramingOption,
    Parity,
    ParityOption,
    RtuTcp,
    Serial,
    Site,
    StopBits,
    Tcp,
    Wire,
    device_of_site,
)

if TYPE_CHECKING:
    from gateway.drivers.line_kinds import PolledLineSettings
    from gateway.drivers.settings import DeviceSettings
    from gateway.templates.library import Library


def probe(
    device: Annotated[str | None, typer.Argument(help="Id of a device of the site file.")] = None,
    site: Site = None,
    tcp: Tcp = None,
    rtu_tcp: RtuTcp = None,
    serial: Serial = None,
    baud: Baud = 9_600,
    data_bits: DataBits = 8,
    parity: ParityOption = Parity.NONE,
    stop_bits: StopBits = 1,
    framing: FramingOption = FramingName.RTU,
    unit: Annotated[int | None, typer.Option(min=0, max=255, help="Unit id of a Modbus device.")] = None,
    address: Annotated[str | None, typer.Option(help="Number of a DL/T 645 or CJ/T 188 meter.")] = None,
    template: Annotated[str | None, typer.Option(help="Id as `gatemeter devices list` prints it.")] = None,
    timeout: Annotated[float, typer.Option(min=0.01, max=60, help="Seconds to begin an answer.")] = 1.0,
    repeat: Annotated[int, typer.Option(min=1, max=100_000, help="Visits; then times are min/median/max.")] = 1,
    templates: Templates = None,
    as_json: AsJson = False,
) -> None:
    """Reads everything from one device and shows values, raw words, where they lie and how long each request took.

    Exit code 1 when anything was not answered. The gateway must be stopped to probe on its serial lines: a bus has one
    owner, and the port is refused otherwise. On TCP stop it too when the device bears a single connection, as many
    serial servers do.

    Examples:

      gatemeter gateway probe --site /etc/gatemeter/site.yaml e-1-0304

      gatemeter gateway probe --tcp 192.0.2.7:502 --unit 3 --template eastron-sdm630 --repeat 50

      gatemeter gateway probe --serial /dev/ttyUSB0 --baud 2400 --parity even --address 000012345678
      --template generic-dlt645-2007-single-phase
    """
    from gateway.logs import configure_logging
    from gateway.templates.library import Library

    configure_logging("error")  # what a driver says while it polls is no news here
    library = Library(templates)
    wire = Wire(tcp, rtu_tcp, serial, baud, data_bits, parity, stop_bits, framing, timeout)
    if site is not None:
        if wire.given or device is None:
            refuse("expected the id of a device beside --site, and no other line")
        line, found = device_of_site(site, device, library)
    else:
        line, found = wire.settings(), _device(unit, address, template, library)
    _probe(line, found, library, repeat, as_json)


def _device(unit: int | None, address: str | None, template: str | None, library: "Library") -> "DeviceSettings":
    from pydantic import ValidationError

    from gateway.drivers.settings import DeviceSettings

    if template is None:
        refuse("expected --template beside the line; `gatemeter gateway scan` guesses it")
    if template not in library.ids:
        refuse(f"there is no template {template}, see gatemeter devices list")
    speaks = library.meter(template).protocol
    if speaks not in ("modbus", "dlt645", "cjt188"):
        refuse(f"{template} speaks {speaks}: nothing can be asked of it")
    if (speaks == "modbus") != (unit is not None) or (speaks == "modbus") == (address is not None):
        refuse(f"{template} speaks {speaks}: expected {'--unit' if speaks == 'modbus' else '--address'}")
    try:
        return DeviceSettings(id="probed", template=template, unit_id=unit, address=address)
    except ValidationError as error:
        refuse(str(error))


def _probe(
    line: "PolledLineSettings", device: "DeviceSettings", library: "Library", repeat: int, as_json: bool
) -> None:
    import asyncio

    from gateway.errors import ConfigError, LineDown
    from gateway.onsite import probe as onsite
    from gateway.onsite.probed import show
    from gateway.onsite.screen import Progress

    async def run() -> onsite.Probed:
        prober = onsite.Prober(line, library)
        try:
            with Progress("reading", repeat) as progress:
                return await prober.run(device, repeat, progress.reach)
        finally:
            prober.close()

    try:
        probed = asyncio.run(run())
    except ConfigError as error:
        refuse(str(error))
    except LineDown as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(TROUBLE) from error
    if as_json:
        print_json(onsite.as_json(probed))
    else:
        show(probed)
    if not probed.fine:
        raise typer.Exit(TROUBLE)
