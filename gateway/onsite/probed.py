"""What a probe found, as it is shown on a terminal."""

from rich.table import Table

from gateway.onsite.probe import Probed, Timings, spread_of
from gateway.onsite.screen import screen


def show(probed: Probed) -> None:
    """Prints registers, requests and totals."""
    console = screen()
    console.print(f"{probed.template} at {probed.endpoint}", style="bold", highlight=False)
    for name, text in probed.identity.items():
        console.print(f"{name}: {text}", highlight=False, markup=False)
    console.print(_registers(probed))
    console.print(_requests(probed))
    console.print(_totals(probed), highlight=False)


def _registers(probed: Probed) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("channel", "value", "unit", "raw", "where", "note"):
        table.add_column(heading, justify="right" if heading == "value" else "left", no_wrap=heading != "note")
    for row in probed.rows:
        table.add_row(row.channel, row.value, row.unit, row.raw, row.where, row.note, style="" if row.value else "red")
    return table


def _requests(probed: Probed) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("request", no_wrap=True)
    table.add_column("first byte", justify="right")
    table.add_column("complete", justify="right")
    table.add_column("errors")
    for one in probed.timings:
        table.add_row(one.asked, _ms(one.first_ms), _ms(one.whole_ms), _errors(one))
    return table


def _ms(milliseconds: list[float]) -> str:
    spread = spread_of(milliseconds)
    if spread is None:
        return "-"
    if len(milliseconds) == 1:
        return f"{spread['median']:.1f} ms"
    return f"{spread['min']:.1f} / {spread['median']:.1f} / {spread['max']:.1f} ms"


def _errors(timings: Timings) -> str:
    counted = {text: timings.errors.count(text) for text in dict.fromkeys(timings.errors)}
    return ", ".join(f"{text} (×{count})" if count > 1 else text for text, count in counted.items())


def _totals(probed: Probed) -> str:
    whole = [value for one in probed.timings for value in one.whole_ms]
    asked = len(whole) + sum(len(one.errors) for one in probed.timings)
    wrong = ", ".join(f"{count} {kind}" for kind, count in probed.errors.items() if count) or "no errors"
    read = sum(1 for row in probed.rows if row.value)
    times = f", {sum(whole):.0f} ms on the line" if whole else ""
    return f"{read} of {len(probed.rows)} registers, {probed.visits} visits, {asked} requests, {wrong}{times}"
