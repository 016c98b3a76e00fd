"""A live table of a running gateway, from its health server."""

import json
import sys
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gateway.errors import GatewayError
from gateway.onsite.screen import screen
from gateway.shown import shown_age, shown_bytes

_EVERY_S: Final = 1.0
_ANSWER_S: Final = 5.0
_FEW: Final = 3
"""Of so many devices all values are shown in full, below each other."""

Status = dict[str, Any]
"""What `/status` serves (see `gateway.health.status`)."""


class NoGateway(GatewayError):
    """Nothing that could be a gateway answers there."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What the person wants to see; parts of names, None for all."""

    line: str | None = None
    device: str | None = None

    def of(self, status: Status) -> Status:
        """The same state with the chosen lines and devices alone."""
        lines = [line for line in status["lines"] if self.line is None or self.line in line["line"]]
        if self.device is not None:
            lines = [
                {**line, "devices": [one for one in line["devices"] if self.device in one["device"]]} for line in lines
            ]
            lines = [line for line in lines if line["devices"]]
        return {**status, "lines": lines}


def fetch(port: int) -> Status:
    """The state now. Raises NoGateway."""
    url = f"http://127.0.0.1:{port}/status"
    try:
        with urllib.request.urlopen(url, timeout=_ANSWER_S) as answer:  # fixed scheme and host
            status: Status = json.load(answer)
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else error
        raise NoGateway(f"no gateway answers at {url}: {reason}") from error
    if "lines" not in status:
        raise NoGateway(f"what answers at {url} is no gateway")
    return status


def watch(port: int, chosen: Chosen, *, once: bool, as_json: bool) -> bool:
    """Shows the state until Ctrl-C, or once; whether the gateway was well when last seen.

    Raises NoGateway at once; later losses are waited out.
    """
    status = fetch(port)
    console = screen()
    if as_json:
        return _print_json(port, status, chosen, once)
    if once or not console.is_terminal:
        console.print(table(chosen.of(status)))
        return not status["problems"]
    with suppress(KeyboardInterrupt), Live(table(chosen.of(status)), console=console, auto_refresh=False) as live:
        while True:
            time.sleep(_EVERY_S)
            try:
                status = fetch(port)
                live.update(table(chosen.of(status)), refresh=True)
            except NoGateway as error:
                live.update(Text(str(error), style="red"), refresh=True)
    return not status["problems"]


def _print_json(port: int, status: Status, chosen: Chosen, once: bool) -> bool:
    with suppress(KeyboardInterrupt):
        while True:
            sys.stdout.write(json.dumps(chosen.of(status), ensure_ascii=False) + "\n")
            sys.stdout.flush()
            if once:
                break
            time.sleep(_EVERY_S)
            status = fetch(port)
    return not status["problems"]


def table(status: Status) -> Group:
    """The state as it is shown on a terminal."""
    devices = [(line["line"], device) for line in status["lines"] for device in line["devices"]]
    parts: list[Any] = [_head(status), _lines(status)]
    if len(devices) <= _FEW:
        parts += [_values(device, status["at"]) for _, device in devices]
        parts.append(_devices(devices, status["at"], with_values=False))
    else:
        parts.append(_devices(devices, status["at"], with_values=True))
    return Group(*parts)


def _head(status: Status) -> Text:
    outbox, uplink = status["outbox"], status["uplink"]
    head = Text(f"{status['project']}/{status['gateway']}", style="bold")
    head.append(f"  {status['software']}, up {shown_age(status['uptime_s'])}", style="")
    head.append(f"  uplink {uplink['state']}", style="green" if uplink["state"] == "online" else "yellow")
    if "rows" in outbox:
        waits = f"  outbox {outbox['rows']} batches, {shown_bytes(outbox['bytes'])}"
        head.append(f"{waits}, oldest {shown_age(outbox['age_s'])}" if outbox["rows"] else waits, style="")
        if outbox["parked"] or outbox["lost"]:
            head.append(f", {outbox['parked']} refused, {outbox['lost']} lost", style="red")
    for problem in status["problems"]:
        head.append(f"\n{problem}", style="bold red")
    return head


def _lines(status: Status) -> Table:
    shown = Table(title=None, box=None, header_style="bold", pad_edge=False)
    for heading in ("line", "state", "busy", "devices", "visits", "late", "connects"):
        shown.add_column(heading, justify="left" if heading in ("line", "state") else "right")
    for line in status["lines"]:
        busy = "" if line["utilisation"] is None else f"{line['utilisation']:.1%}"
        failing = sum(1 for device in line["devices"] if device["failures_in_a_row"])
        count = f"{len(line['devices'])}" + (f" ({failing} failing)" if failing else "")
        state = Text("connected", style="green") if line["connected"] else Text("down", style="red")
        connects = f"{line['connects']}" + (
            f" (+{line['connect_failures']} failed)" if line["connect_failures"] else ""
        )
        shown.add_row(line["line"], state, busy, count, str(line["visits"]), str(line["late_visits"]), connects)
    return shown


def _devices(devices: list[tuple[str, dict[str, Any]]], at: int, with_values: bool) -> Table:
    """Those in trouble first: on a small screen the rest is cut off."""
    shown = Table(box=None, header_style="bold", pad_edge=False, expand=with_values)
    for heading in ("device", "line", "state", "seen", "RTT", "silent", "refused", "broken"):
        shown.add_column(heading, justify="left" if heading in ("device", "line", "state") else "right", no_wrap=True)
    if with_values:
        shown.add_column("last values", no_wrap=True, overflow="ellipsis", ratio=1)
    for line, device in sorted(devices, key=lambda one: (-one[1]["failures_in_a_row"], one[1]["device"])):
        cells = [
            device["device"],
            line,
            _state(device),
            shown_age((at - device["last_seen"]) / 1000) if device["last_seen"] else "never",
            f"{device['round_trip_us'] / 1000:.1f} ms" if device["round_trip_us"] else "",
            *(str(device[key]) for key in ("timeouts", "exceptions", "malformed")),
        ]
        if with_values:
            cells.append(
                "  ".join(f"{one['channel']} {one['value']} {one['unit']}".strip() for one in device["values"])
            )
        shown.add_row(*cells)
    return shown


def _state(device: dict[str, Any]) -> Text:
    if device["failures_in_a_row"]:
        return Text(f"failing ×{device['failures_in_a_row']}", style="red")
    return Text("fine", style="green") if device["last_seen"] else Text("waiting", style="yellow")


def _values(device: dict[str, Any], at: int) -> Table:
    shown = Table(title=device["device"], title_justify="left", box=None, header_style="bold", pad_edge=False)
    for heading in ("channel", "value", "unit", "age", "quality"):
        shown.add_column(heading, justify="right" if heading in ("value", "age") else "left")
    for one in device["values"]:
        age = shown_age((at - one["taken_at"]) / 1000)
        shown.add_row(one["channel"], one["value"], one["unit"], age, ", ".join(one["quality"]))
    return shown
