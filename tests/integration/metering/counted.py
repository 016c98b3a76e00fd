"""Usage that tests write themselves is counted as the derivation counts what it writes."""

from typing import LiteralString

COUNT: LiteralString = """
    SELECT gm.mend_crossing(id, '2000-01-01', '2100-01-01', gm.miscounted_crossing(id, '2000-01-01', '2100-01-01'))
           + gm.mend_counts(id, '2000-01-01', '2100-01-01') AS mend_counts
    FROM project ORDER BY id
"""
"""To be executed after the rows, in their transaction or after it, by the worker or the owner."""
