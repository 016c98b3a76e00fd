"""What a benchmark returns, and how it is printed."""

import platform
from collections.abc import Sequence
from dataclasses import dataclass
from os import cpu_count

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Measure:
    """One comparison: our rate and the reference's, both in `unit` per second (or `per`), measured in the same run."""

    name: str
    ours: float
    reference_name: str
    reference: float
    unit: str
    wanted: float | None = None
    """The ratio that the project promises, where it promises one."""
    per: str = "s"
    """What both rates are per."""

    @property
    def ratio(self) -> float:
        """How many times as fast as the reference."""
        return self.ours / self.reference


def show(measures: Sequence[Measure]) -> None:
    """Prints the comparisons with the machine they were made on."""
    console = Console()
    table = Table(
        title=f"{platform.processor() or platform.machine()}, {cpu_count()} cores, Python {platform.python_version()}"
    )
    for column in ("what", "ours", "reference", "", "ratio", "wanted"):
        table.add_column(column, justify="right" if column in ("ours", "", "ratio", "wanted") else "left")
    for measure in measures:
        table.add_row(
            measure.name,
            f"{measure.ours:,.0f} {measure.unit}/{measure.per}",
            measure.reference_name,
            f"{measure.reference:,.0f} {measure.unit}/{measure.per}",
            f"{measure.ratio:.2f}",
            "" if measure.wanted is None else f"≥ {measure.wanted:g}",
        )
    console.print(table)
