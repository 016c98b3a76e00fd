"""Files of readings: every row is answered and kept, whatever happens to the worker in between."""

from collections.abc import Sequence
from typing import Any

import pytest

from cloud.kit.db import SYSTEM, Database
from cloud.kit.paging import PageRequest
from cloud.metering import imports
from cloud.metering.import_records import ImportRow, NewImport, ReadingImport, RowFilter
from cloud.metering.import_run import run_import
from tests.integration.metering.site import Site, make_site

HALF_BAD = """表号,抄表时间,读数,单位,通道
E1,2026-01-31 08:00,1.5,kWh,
E1,2026-01-31 08:00,1.6,,
E9,2026-01-31 08:00,1,,
E2,2026/1/31,-4,,
E2,31.01.2026 9:00,2,MWh,
"""
HEAD = "meter,time,value,channel\n"
E1 = "E1,2026-01-31 08:00,1.5,"


@pytest.fixture
async def site(worker_db: Database) -> Site:
    return await make_site(worker_db)


async def upload(db: Database, site: Site, text: str | bytes, *, again: bool = True, **options: Any) -> ReadingImport:
    """Keeps a file as an import."""
    data = text.encode() if isinstance(text, str) else text
    async with db.transaction(SYSTEM) as conn:
        new = NewImport(site.project_id, "readings.csv", "user:tester", **options)
        return await imports.create_import(conn, new, imports.content_of(data), again=again)


async def rows_of(db: Database, made: ReadingImport, wanted: RowFilter = RowFilter()) -> Sequence[ImportRow]:
    async with db.transaction(SYSTEM) as conn:
        return (await imports.list_rows(conn, PageRequest(500), made.id, wanted)).items


async def answers(db: Database, site: Site, text: str | bytes, **options: Any) -> list[tuple[int, str, str]]:
    """Line, outcome and code of every row of a file that is imported."""
    made = await upload(db, site, text, **options)
    await run_import(db, SYSTEM, made.id)
    return [(row.line, row.outcome, row.code) for row in await rows_of(db, made)]


async def stored(db: Database) -> list[tuple[int, int, int]]:
    """Meter, time (s) and value of all readings."""
    async with db.transaction(SYSTEM) as conn:
        found = await conn.execute(
            """SELECT meter_id, extract(epoch FROM taken_at)::bigint AS at, value FROM store.reading
               ORDER BY meter_id, channel, taken_at"""
        )
        return [tuple(row.values()) for row in await found.fetchall()]  # type: ignore[misc]


async def test_half_bad_file_dry_then_stored_then_repeated(worker_db: Database, site: Site) -> None:
    found = []
    for dry_run in (True, False, False):
        told = await answers(worker_db, site, HALF_BAD.encode("gbk"), dry_run=dry_run)
        found.append((told, [value for *_, value in await stored(worker_db)]))
    bad = [(3, "other-value", "other-value"), (4, "refused", "unknown-meter"), (5, "refused", "negative")]
    first = [(2, "stored", ""), *bad, (6, "stored", "")]
    again = [(2, "repeated", ""), *bad, (6, "repeated", "")]
    assert found == [(first, []), (first, [1_500, 2_000_000]), (again, [1_500, 2_000_000])]


@pytest.mark.parametrize(
    ("text", "outcome", "code", "field", "detail"),
    [
        (f"{E1}volume_total", "refused", "other-medium", "channel", "expected a channel of a meter for electricity"),
        (f"{E1}\nE1,2026-01-31 08:00,1.6,", "other-value", "other-value", "", "1.500 kWh is stored"),
        ("E1,2020-01-31 08:00,1.5,", "refused", "before-installation", "time", "2024-12-31T16:00:00+00:00"),
        ("E1,2099-01-31 08:00,1.5,", "refused", "in-future", "time", ""),
        ("E1,31st of May,1.5,", "refused", "bad-time", "time", "31st of May"),
        (f"{E1}\nE1,2026-01-31 09:00,1.4,", "needs-confirmation", "backward", "value", "1.500 kWh stands before"),
        (f"{E1}\nE1,2026-01-31 09:00,61.6,", "needs-confirmation", "maximum", "value", "1.500 kWh stands before"),
        (f"{E1}\nE1,2026-01-31 07:00,1.6,", "needs-confirmation", "backward", "value", "1.600 kWh stands before"),
    ],
)
async def test_what_is_said_of_a_bad_row(
    worker_db: Database, site: Site, text: str, outcome: str, code: str, field: str, detail: str
) -> None:
    made = await upload(worker_db, site, HEAD + text)
    await run_import(worker_db, SYSTEM, made.id)
    (row,) = await rows_of(worker_db, made, RowFilter(not_stored=True))
    assert (row.outcome, row.code, row.field) == (outcome, code, field)
    assert detail in row.detail
