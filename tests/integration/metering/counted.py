"""Usage that tests write themselves is counted as the derivation counts what it writes."""

from typing import LiteralString

COUNT: LiteralString = "SELECT gm.mend_counts(id, '2000-01-01', '2100-01-01') FROM project ORDER BY id"
"""To be executed after the rows, in their transaction or after it, by the worker or the owner."""
