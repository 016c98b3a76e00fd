"""What a benchmark returns, and how it is printed."""

import platform
import sys
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


@dataclass(frozen=True, slots=True)
class Bound:
    """One figure of ours against the bound that the project promises, in the same `unit`; no reference beside it."""

    name: str
    ours: float
    unit: str
    wanted: float
    at_least: bool = False
    """Whether more is better; otherwise the bound is the most."""

    @property
    def kept(self) -> bool:
        """Whether the promise was kept in this run."""
        return self.ours >= self.wanted if self.at_least else self.ours <= self.wanted


def show(measures: Sequence[Measure | Bound]) -> None:
    """Prints the comparisons with the machine they were made on."""
    # Into a file or a pipe as wide as it is: a table of broken words cannot be compared.
    console = Console(width=None if sys.stdout.isatty() else 200)
    table = Table(
        title=f"{platform.processor() or platform.machine()}, {cpu_count()} cores, Python {platform.python_version()}"
    )
    for column in ("what", "ours", "reference", "", "ratio", "wanted"):
        table.add_column(column, justify="right" if column in ("ours", "", "ratio", "wanted") else "left")
    for measure in measures:
        if isinstance(measure, Bound):
            sign = "≥" if measure.at_least else "≤"
            kept = "kept" if measure.kept else "NOT KEPT"
            figure = (
                f"{measure.ours:,.4g} {measure.unit}" if measure.ours < 1_000 else f"{measure.ours:,.0f} {measure.unit}"
            )
            table.add_row(measure.name, figure, "", "", kept, f"{sign} {measure.wanted:,g}")
            continue
        table.add_row(
            measure.name,
            f"{measure.ours:,.0f} {measure.unit}/{measure.per}",
            measure.reference_name,
            f"{measure.reference:,.0f} {measure.unit}/{measure.per}",
            f"{measure.ratio:.2f}",
            "" if measure.wanted is None else f"≥ {measure.wanted:g}",
        )
    console.print(table)
