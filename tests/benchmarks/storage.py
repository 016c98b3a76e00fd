"""Bytes of a stored reading and of a usage row: heap and index, and in the columnstore where the server has it.

`python -m tests.benchmarks.storage DSN`: an empty, migrated database that may be filled.
"""

import sys
from typing import LiteralString

import psycopg

_METERS = 200
_DAYS = 60
_QUARTERS = _DAYS * 96

# A register that advances by a load curve with noise, as meters do; a constant step would pack too well.
_READINGS: LiteralString = """
    INSERT INTO store.reading (meter_id, channel, taken_at, value, project_id, received_at)
    SELECT m, 1, at, sum(step) OVER (PARTITION BY m ORDER BY at), 1, at + interval '2 seconds'
    FROM (SELECT m, timestamptz '2026-01-01 00:00+00' + n * interval '15 minutes' AS at,
                 (hashint8(m * 100000 + n) & 255) + 40 * mod(n, 96) AS step
          FROM generate_series(1, %(meters)s) AS m, generate_series(1, %(quarters)s) AS n) AS s ORDER BY at, m
"""
_USAGE: LiteralString = """
    INSERT INTO store.usage (meter_id, channel, start, length_s, quantity, project_id)
    SELECT m, 1, timestamptz '2026-01-01 00:00+00' + n * interval '15 minutes', 900,
           (hashint8(m * 100000 + n) & 255) + 40 * mod(n, 96), 1
    FROM generate_series(1, %(meters)s) AS m, generate_series(1, %(quarters)s) AS n ORDER BY 3, 1
"""
_SIZES: LiteralString = """
    SELECT sum(pg_table_size(relid)), sum(pg_indexes_size(relid))
    FROM pg_partition_tree(%(series)s::regclass) WHERE isleaf
"""
_CHUNK_SIZES: LiteralString = "SELECT table_bytes + toast_bytes, index_bytes FROM hypertable_detailed_size(%(series)s)"
_PACK: LiteralString = "SELECT count(compress_chunk(c)) FROM show_chunks(%(series)s::regclass) AS c"


def main(dsn: str) -> None:
    """Prints one line for each series and form."""
    rows = _METERS * _QUARTERS
    with psycopg.connect(dsn, autocommit=True) as conn:
        timescale = conn.execute("SELECT gm.has_timescale()").fetchone() == (True,)
        for series, fill in (("store.reading", _READINGS), ("store.usage", _USAGE)):
            conn.execute(fill, {"meters": _METERS, "quarters": _QUARTERS})
            forms = ("hypertable", "columnstore") if timescale else ("plain",)
            for form in forms:
                if form == "columnstore":
                    conn.execute(_PACK, {"series": series})
                found = conn.execute(_CHUNK_SIZES if timescale else _SIZES, {"series": series}).fetchone()
                assert found is not None
                heap, index = (int(size) for size in found)
                print(f"{series:14} {form:12} {heap / rows:6.1f} heap {index / rows:6.1f} index "
                      f"{(heap + index) / rows:6.1f} bytes a row")  # fmt: skip


if __name__ == "__main__":
    main(sys.argv[1])
