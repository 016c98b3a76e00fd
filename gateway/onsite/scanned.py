"""What a scan found, as it is shown on a terminal."""

from rich.table import Table

from gateway.onsite.found import Scanned
from gateway.onsite.screen import screen


def show(scanned: Scanned, on_stderr: bool) -> None:
    """Prints who answers and what they may be."""
    console = screen(on_stderr)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in ("answers", "protocol", "known as", "template", "score", "why"):
        table.add_column(heading, justify="right" if heading == "score" else "left", no_wrap=heading != "why")
    for one in scanned.found:
        head = [one.station, one.protocol, one.known_as]
        if not one.guesses:
            table.add_row(*head, "", "", "no template fits")
        for guess in one.guesses:
            table.add_row(*head, guess.template, str(guess.score), ", ".join(guess.reasons))
            head = ["", "", ""]
    if scanned.found:
        console.print(table)
    for note in scanned.notes:
        console.print(note, style="yellow", highlight=False)
    end = "" if scanned.complete else ", interrupted"
    console.print(
        f"{len(scanned.found)} devices answer at {scanned.endpoint}, {scanned.seconds:.0f} s{end}", highlight=False
    )
