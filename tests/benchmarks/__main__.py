"""`make bench`: runs every benchmark, or those named on the command line."""

import importlib
import sys
from typing import Final

from tests.benchmarks.measure import Bound, Measure, show

_ALL: Final = (
    "polling", "bus", "delivered", "dead", "footprint", "outbox", "ingest", "intake", "usage", "api", "routes",
    "rating", "documents", "billing", "access", "stays", "parking", "let_out",
)  # fmt: skip


def main() -> None:
    """Runs and prints."""
    wanted = sys.argv[1:] or _ALL
    unknown = set(wanted) - set(_ALL)
    if unknown:
        sys.exit(f"unknown benchmark {', '.join(sorted(unknown))}; there are {', '.join(_ALL)}")
    measures: list[Measure | Bound] = []
    for name in wanted:
        print(f"running {name} …", file=sys.stderr)
        measures += importlib.import_module(f"tests.benchmarks.{name}").run()
    show(measures)


if __name__ == "__main__":
    main()
