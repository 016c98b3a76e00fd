"""`gatemeter gateway scan`."""

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
    line_of_site,
)

if TYPE_CHECKING:
    from gateway.drivers.line_kinds import PolledLineSettings
    from gateway.onsite.found import Scanned
    from gateway.onsite.scan import Order
    from gateway.templates.library import Library


def scan(
    site: Site = None,
    line: Annotated[str | None, typer.Option(help="Name of a line of the site file.")] = None,
    tcp: Tcp = None,
    rtu_tcp: RtuTcp = None,
    serial: Serial = None,
    baud: Baud = 9_600,
    data_bits: DataBits = 8,
    parity: ParityOption = Parity.NONE,
    stop_bits: StopBits = 1,
    framing: FramingOption = FramingName.RTU,
    units: Annotated[str, typer.Option(help="Modbus unit ids to ask, such as 1-32,40.")] = "1-247",
    protocol: Annotated[
        list[str] | None, typer.Option(help="modbus, dlt645 or cjt188; again for more. All on a bus when absent.")
    ] = None,
    template: Annotated[
        list[str] | None, typer.Option(help="Guess among these templates only; again for more.")
    ] = None,
    timeout: Annotated[float, typer.Option(min=0.02, max=10, help="Seconds to begin an answer.")] = 0.3,
    thorough: Annotated[bool, typer.Option("--thorough", help="Asks silent units again, by function 4.")] = False,
    each: Annotated[float, typer.Option(min=1, max=600, help="Seconds to guess at one device, at most.")] = 20.0,
    guesses: Annotated[int, typer.Option(min=1, max=20, help="Templates to name for each device.")] = 3,
    write_site: Annotated[
        bool, typer.Option("--write-site", help="Prints a devices: list to paste into a site file.")
    ] = False,
    templates: Templates = None,
    as_json: AsJson = False,
) -> None:
    """Asks who answers on a line and guesses which template each device is; writes to nobody. Ctrl-C shows what was
    found so far.

    Exit code 1 when nobody answers. The gateway must be stopped to scan one of its serial lines; stop it for a TCP line
    too when the other end bears a single connection, as many serial servers do.

    Examples:

      gatemeter gateway scan --tcp 192.0.2.7:502 --units 1-32

      gatemeter gateway scan --serial /dev/ttyUSB0 --baud 9600 --protocol modbus --write-site

      gatemeter gateway scan --site /etc/gatemeter/site.yaml --line riser-2 --json
    """
    from gateway.logs import configure_logging
    from gateway.onsite.scan import Order
    from gateway.templates.library import Library

    configure_logging("error")  # what a driver says while it polls is no news here
    library = Library(templates)
    wire = Wire(tcp, rtu_tcp, serial, baud, data_bits, parity, stop_bits, framing, timeout, late_answer_s=0.3)
    if site is not None:
        if wire.given or line is None:
            refuse("expected --line beside --site, and no other line")
        # The line's own waits are those of a gateway that polls for ever; a scan has to come to an end.
        changes = {"timeout_s": timeout, "late_answer_s": max(0.3, timeout)}
        settings = line_of_site(site, line, library)
        known = {name: value for name, value in changes.items() if name in type(settings).model_fields}
        settings = settings.model_copy(update=known)
    else:
        settings = wire.settings()
    order = Order(_units(units), _protocols(protocol), _candidates(template, library), guesses, each, thorough)
    scanned = _scan(settings, library, order)
    if as_json:
        print_json(scanned.as_json())
    else:
        from gateway.onsite.found import site_snippet
        from gateway.onsite.scanned import show

        show(scanned, on_stderr=write_site)
        if write_site:
            typer.echo(site_snippet(scanned), nl=False)
    if not scanned.found:
        raise typer.Exit(TROUBLE)


def _scan(line: "PolledLineSettings", library: "Library", order: "Order") -> "Scanned":
    import asyncio
    import signal

    from gateway.errors import ConfigError, LineDown
    from gateway.onsite.scan import Scanner

    async def run() -> "Scanned":
        stop, loop = asyncio.Event(), asyncio.get_running_loop()

        def interrupted() -> None:
            stop.set()
            loop.remove_signal_handler(signal.SIGINT)  # a second Ctrl-C ends it at once

        loop.add_signal_handler(signal.SIGINT, interrupted)
        scanner = Scanner(line, library, order)
        try:
            return await scanner.run(stop)
        except LineDown as error:
            if not scanner.scanned.found:
                raise
            scanner.scanned.notes.append(str(error))
            return scanner.scanned
        finally:
            scanner.close()

    try:
        return asyncio.run(run())
    except ConfigError as error:
        refuse(str(error))
    except LineDown as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(TROUBLE) from error


def _units(text: str) -> list[int]:
    found: set[int] = set()
    for piece in text.split(","):
        first, _, last = piece.strip().partition("-")
        if not first.isdecimal() or not (last or first).isdecimal():
            refuse(f"--units: expected such as 1-32,40, found {text!r}")
        low, high = int(first), int(last or first)
        if not 0 <= low <= high <= 255:
            refuse(f"--units: expected rising ids from 0 to 255, found {piece!r}")
        found |= set(range(low, high + 1))
    return sorted(found)


def _protocols(wanted: list[str] | None) -> list[str]:
    from gateway.onsite.scan import PROTOCOLS

    for one in wanted or ():
        if one not in PROTOCOLS:
            refuse(f"--protocol: expected one of {', '.join(PROTOCOLS)}, found {one!r}")
    return wanted or list(PROTOCOLS)


def _candidates(wanted: list[str] | None, library: "Library") -> list[str]:
    for one in wanted or ():
        if one not in library.ids:
            refuse(f"there is no template {one}, see gatemeter devices list")
    return wanted or list(library.ids)
