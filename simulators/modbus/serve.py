"""Runs a fleet as a process: options checked, lines announced, ends on SIGTERM or SIGINT."""

import asyncio
import signal
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gateway.errors import ConfigError
from gateway.settings import load_site
from simulators.coap.fleet import CoapFleet, CoapFleetOptions
from simulators.modbus.faults import Fault
from simulators.modbus.fleet import Fleet, FleetOptions, wall_ms
from simulators.modbus.meter import Served
from simulators.modbus.recorded import Recording, read_recording


class BadOption(ValueError):
    """An option of the command line that makes no sense."""


Unusable = (BadOption, ConfigError, OSError)
"""What ends the command with exit code 2."""


async def serve_site(
    site: Path,
    options: FleetOptions,
    served_log: Path | None,
) -> None:
    """Serves until a signal comes. Raises what `Unusable` lists before anything listens."""
    with ExitStack() as stack:
        served = None
        if served_log is not None:
            served_log.parent.mkdir(parents=True, exist_ok=True)
            served = Served(stack.enter_context(served_log.open("a", buffering=1, encoding="utf-8")))
        settings = load_site(site)
        fleet = Fleet(settings, options, served)
        coap_lines = [line for line in settings.lines if line.protocol in ("coap-server", "coap-client")]
        coap = CoapFleet(coap_lines, CoapFleetOptions(options.seed, options.time_zone))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await fleet.start()
        try:
            # Without CoAP meters there is no reason to own a UDP socket.
            await (coap.run(stop) if coap_lines else stop.wait())
        finally:
            await fleet.stop()


def zone_of(name: str) -> ZoneInfo:
    """The zone of that name. Raises BadOption."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise BadOption(f"--time-zone: expected an IANA name such as Asia/Shanghai, found {name!r}") from None


def recordings_of(texts: Sequence[str], zone: ZoneInfo) -> dict[str, Recording]:
    """Recordings by device from texts such as 'e-001=households.csv.gz#E01', shifted so that they begin now.

    Raises BadOption, OSError.
    """
    found: dict[str, Recording] = {}
    for text in texts:
        device, _, rest = text.partition("=")
        file, _, meter = rest.partition("#")
        if not (device and file and meter):
            raise BadOption(f"--recorded: expected DEVICE=FILE#METER, found {text!r}")
        try:
            recording = read_recording(Path(file), meter, zone)
        except (KeyError, ValueError) as error:
            raise BadOption(f"--recorded: {text!r}: {error}") from None
        found[device] = recording.shifted(wall_ms() // 1000 - recording.ends[0])
    return found


def rates_of(texts: Sequence[str]) -> dict[Fault, float]:
    """Rates from texts such as 'silent=0.01'. Raises BadOption."""
    rates: dict[Fault, float] = {}
    for text in texts:
        name, _, rate = text.partition("=")
        try:
            rates[Fault(name)] = float(rate)
        except ValueError:
            known = ", ".join(fault.value for fault in Fault)
            raise BadOption(f"--fault: expected NAME=RATE with a NAME of {known}, found {text!r}") from None
    if any(not 0 <= rate <= 1 for rate in rates.values()) or sum(rates.values()) > 1:
        raise BadOption("--fault: expected rates from 0 to 1 that add up to at most 1")
    return rates
