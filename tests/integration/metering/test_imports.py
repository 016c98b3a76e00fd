"""Files of readings: every row is answered and kept, whatever happens to the worker in between."""

import io
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

import pytest
from openpyxl import Workbook

from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict, InvalidInput
from cloud.kit.paging import PageRequest
from cloud.metering import service as metering
from cloud.metering.imports import repository as import_repository
from cloud.metering.imports import run as import_run
from cloud.metering.imports import service as imports
from cloud.metering.imports.records import ImportRow, NewImport, ReadingImport, RowFilter
from cloud.metering.imports.run import run_import
from cloud.metering.readings.backfill import store_history
from cloud.metering.records import NewMeter
from tests.integration.metering.site import MAX_PER_HOUR, MODULUS, Site, make_site
from tests.integration.metering.test_derivation import derive, table

HALF_BAD = """表号,抄表时间,读数,单位,通道
E1,2026-01-31 08:00,1.5,kWh,
E1,2026-01-31 08:00,1.6,,
E9,2026-01-31 08:00,1,,
E2,2026/1/31,-4,,
E2,31.01.2026 9:00,2,MWh,
"""
ALL: Final = RowFilter()
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


async def rows_of(db: Database, made: ReadingImport, wanted: RowFilter = ALL) -> Sequence[ImportRow]:
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
        return [tuple(row.values()) for row in await found.fetchall()]


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
        (f"{E1}volume_total", "refused", "wrong-channel", "channel", "expected a channel of a meter for electricity"),
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


async def test_a_row_of_formulas_without_values_is_kept_and_answered(worker_db: Database, site: Site) -> None:
    book = Workbook()
    sheet = book.active
    assert sheet is not None
    for row in (["meter", "time", "value"], ["E1", "2026-01-31 08:00", 1.5], ["=A2", "=B2", "=C2+1"], ["E1", "=B2", 1]):
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    made = await upload(worker_db, site, file.getvalue())
    for _ in range(2):
        await run_import(worker_db, SYSTEM, made.id)
        first, *rest = await rows_of(worker_db, made)
        assert (first.line, first.outcome) == (2, "stored")
        assert [(row.line, row.outcome, row.code, row.field) for row in rest] == [
            (3, "refused", "formula-without-value", "meter"),
            (4, "refused", "formula-without-value", "time"),
        ]
        assert all("save the file in Excel or WPS once" in row.detail for row in rest)
        async with worker_db.transaction(SYSTEM) as conn:
            repair = [row async for portion in imports.rows_not_stored(conn, made.id) for row in portion]
            await imports.look_again(conn, made.id)
        assert [list(row.raw[:3]) for row in repair] == [["=A2", "=B2", "=C2+1"], ["E1", "=B2", "1"]]


async def test_a_file_may_go_by_another_clock(worker_db: Database, site: Site) -> None:
    """The third row says its offset itself; half past two on that night is no time in Berlin, and one elsewhere."""
    text = HEAD + "E1,2026-01-31 08:00,1,\nE1,2026-03-29 02:30,2,\nE1,2026-03-29 12:00+08:00,3,\n"
    outcomes = {"": ["stored"] * 3, "UTC": ["stored"] * 3, "Europe/Berlin": ["stored", "refused", "stored"]}
    first = datetime(2026, 1, 31, tzinfo=UTC)
    hours = {"": 0, "UTC": 8, "Europe/Berlin": 7}
    for zone, wanted in outcomes.items():
        made = await upload(worker_db, site, text, time_zone=zone, dry_run=True)
        await run_import(worker_db, SYSTEM, made.id)
        rows = await rows_of(worker_db, made)
        assert [row.outcome for row in rows] == wanted
        assert rows[0].taken_at == first + timedelta(hours=hours[zone])
        assert rows[2].taken_at == datetime(2026, 3, 29, 4, tzinfo=UTC)
        async with worker_db.transaction(SYSTEM) as conn:
            assert (await imports.import_once_more(conn, made.id, "x", again=True)).time_zone == zone


@pytest.mark.parametrize("zone", ["Mars/Olympus", "Asia", "../UTC", "x" * 300])
async def test_a_clock_that_nobody_knows_is_refused(worker_db: Database, site: Site, zone: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        await upload(worker_db, site, HEAD, time_zone=zone)
    assert (refused.value.code, refused.value.field) == ("unknown-time-zone", "time_zone")


class _Killed(Exception):
    """The worker died."""


@pytest.mark.parametrize("kind", ["register", "interval"])
@pytest.mark.parametrize("killed_after", [1, 2, 3, 4])
async def test_killed_and_run_again_it_comes_to_the_same(
    worker_db: Database, monkeypatch: pytest.MonkeyPatch, kind: str, killed_after: int
) -> None:
    monkeypatch.setattr(import_run, "PORTION", 7)
    lines = [f"E{1 + n % 2},2026-01-{2 + n // 10:02} {8 + n % 10:02}:00,{n % 7 + n // 10},3600" for n in range(40)]
    lines[5], lines[11], lines[20] = "E9,2026-01-02,1,", "E2,never,1,", "E1,2026-01-04 08:00,many,"
    text = "meter,time,value,seconds\n" + "\n".join(lines)
    calls = 0

    async def dying(conn: Any, columns: Any) -> Any:
        nonlocal calls
        calls += 1
        result = await store_history(conn, columns)
        if calls == killed_after:
            raise _Killed
        return result

    outcomes = []
    for code in ("whole", "killed"):
        site = await make_site(worker_db, code=code)
        made = await upload(worker_db, site, text, kind=kind)
        if code == "killed":
            monkeypatch.setattr(import_run, "store_history", dying)
            with pytest.raises(_Killed):
                await run_import(worker_db, SYSTEM, made.id)
        done = await run_import(worker_db, SYSTEM, made.id)
        assert (done.state, done.rows, done.answered) == ("done", 40, 40)
        answers = [(row.line, row.outcome, row.code, row.register) for row in await rows_of(worker_db, made)]
        readings = [(site.meters.index(meter), at, value) for meter, at, value in await stored(worker_db)
                    if meter in site.meters]  # fmt: skip
        outcomes.append((answers, readings))
    assert outcomes[0] == outcomes[1]
    assert sum(outcome == "stored" for _, outcome, *_ in outcomes[0][0]) > 5


async def test_killed_while_the_file_is_read(worker_db: Database, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_run, "PORTION", 3)
    text = "meter,time,value\n" + "\n".join(f"E1,2026-01-{n:02},{n}" for n in range(1, 12))
    made = await upload(worker_db, site, text)
    add_rows, calls = import_repository.add_rows, 0

    async def dying(conn: Any, to: Any, rows: Any) -> None:
        nonlocal calls
        calls += 1
        await add_rows(conn, to, rows)
        if calls == 3:
            raise _Killed

    monkeypatch.setattr(import_repository, "add_rows", dying)
    with pytest.raises(_Killed):
        await run_import(worker_db, SYSTEM, made.id)
    assert len(await rows_of(worker_db, made)) == 6
    done = await run_import(worker_db, SYSTEM, made.id)
    assert (done.state, dict(done.counts)) == ("done", {"stored": 11})


async def test_the_same_file_leads_to_its_first_import(worker_db: Database, site: Site) -> None:
    for _ in range(2):  # a preview is no import
        await upload(worker_db, site, HEAD + E1, again=False, dry_run=True)
    first = await upload(worker_db, site, HEAD + E1, again=False)
    with pytest.raises(Conflict) as caught:
        await upload(worker_db, site, HEAD + E1, again=False)
    assert (caught.value.code, caught.value.params) == ("file-imported", {"import_id": first.id})
    await upload(worker_db, site, HEAD + E1 + "\n", again=False)
    await upload(worker_db, site, HEAD + E1, again=True)
    elsewhere = await make_site(worker_db, code="other")
    await upload(worker_db, elsewhere, HEAD + E1, again=False)


async def test_a_preview_becomes_an_import(worker_db: Database, site: Site) -> None:
    tried = await upload(worker_db, site, HALF_BAD, again=False, dry_run=True)
    await run_import(worker_db, SYSTEM, tried.id)
    async with worker_db.transaction(SYSTEM) as conn:
        made = await imports.import_once_more(conn, tried.id, "user:tester")
        job = await (await conn.execute("SELECT kind, payload FROM job ORDER BY id DESC LIMIT 1")).fetchone()
    assert job == {"kind": "metering.import-readings", "payload": {"import_id": made.id}}
    done = await run_import(worker_db, SYSTEM, made.id)
    assert (done.counts, len(await stored(worker_db))) == ({"stored": 2, "other-value": 1, "refused": 2}, 2)


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"a,b\n1,2\n", "bad-header"), (b"\x81\x20\xff", "bad-encoding"), (b"PK\x03\x04rubbish", "bad-xlsx")],
)
async def test_a_file_that_cannot_be_read_says_why(worker_db: Database, site: Site, content: bytes, code: str) -> None:
    made = await upload(worker_db, site, content)
    done = await run_import(worker_db, SYSTEM, made.id)
    assert (done.state, done.error_code) == ("failed", code)
    await upload(worker_db, site, content, again=False)  # a failed one is in nobody's way


async def test_after_a_meter_was_made_only_its_rows_are_looked_at_again(worker_db: Database, site: Site) -> None:
    made = await upload(worker_db, site, HEAD + f"{E1}\nE9,2026-01-31 08:00,3,\nE2,2026-01-31 08:00,x,")
    await run_import(worker_db, SYSTEM, made.id)
    async with worker_db.transaction(SYSTEM) as conn:
        new = NewMeter("E9", "electricity", None, MODULUS, MAX_PER_HOUR, date(2025, 1, 1))
        await metering.create_meters(conn, site.project_id, [new])
        again = await imports.look_again(conn, made.id)
    assert (again.state, again.answered, dict(again.counts)) == ("queued", 1, {"stored": 1, "new": 2})
    done = await run_import(worker_db, SYSTEM, made.id)
    assert dict(done.counts) == {"stored": 2, "refused": 1}
    assert [value for *_, value in await stored(worker_db)] == [1_500, 3_000]


async def test_what_is_confirmed_is_stored_and_counts(worker_db: Database, site: Site) -> None:
    text = "\n".join(f"E1,2026-01-31 {hour:02}:00,{value}," for hour, value in ((8, 5), (9, 3), (10, 4), (11, "1e5")))
    made = await upload(worker_db, site, HEAD + text)
    done = await run_import(worker_db, SYSTEM, made.id)
    assert dict(done.counts) == {"stored": 1, "needs-confirmation": 3}
    async with worker_db.transaction(SYSTEM) as conn:
        assert await imports.codes_to_confirm(conn, made.id) == {"backward": 2, "maximum": 1}
        with pytest.raises(Conflict):
            await imports.confirm(conn, made.id, "why", "user:boss", code="exchange")
        with pytest.raises(InvalidInput):
            await imports.confirm(conn, made.id, "  ", "user:boss")
        await imports.confirm(conn, made.id, "read it twice", "user:boss", lines=[3])
    done = await run_import(worker_db, SYSTEM, made.id)
    # The third row runs on from the second, which counts now; the last one still asks.
    assert dict(done.counts) == {"stored": 3, "needs-confirmation": 1}
    (confirmed,) = [row for row in await rows_of(worker_db, made) if row.confirmed]
    assert (confirmed.line, confirmed.confirmer, confirmed.code) == (3, "user:boss", "backward")
    await derive(worker_db)
    edits = await table(worker_db, "SELECT action, reason, actor FROM reading_edit")
    assert edits == [{"action": "use", "reason": "read it twice", "actor": "user:boss"}]
    assert [row["quantity"] for row in await table(worker_db, USAGE)] == [0, 1_000]


USAGE = "SELECT quantity FROM store.usage ORDER BY meter_id, start"


async def test_history_is_read_with_the_register_of_its_time(worker_db: Database, site: Site) -> None:
    """Until 1 March the register had five digits and bore another number; now it has nine digits and counts from 0."""
    moment = datetime(2026, 3, 1, tzinfo=UTC)
    meter_id = site.meters[0]
    async with worker_db.transaction(SYSTEM) as conn:
        await conn.execute(
            """UPDATE meter_register SET valid = tstzrange(lower(valid), %s), serial = 'OLD', modulus = 100000000,
                                         resolution = 1000, max_per_hour = 5000, multiplier = 10 WHERE meter_id = %s""",
            (moment, meter_id),
        )
        await conn.execute(
            """INSERT INTO meter_register (project_id, meter_id, valid, reason, serial, modulus, max_per_hour)
               VALUES (%s, %s, tstzrange(%s, NULL), 'exchanged', 'NEW', 1000000000, 60000)""",
            (site.project_id, meter_id, moment),
        )
    text = """serial,time,value
OLD,2026-02-01 08:00,99990
OLD,2026-02-01 08:30,123456
OLD,2026-02-01 09:00,99990.5
OLD,2026-02-01 10:00,99995
OLD,2026-02-01 11:00,99999
OLD,2026-02-01 12:00,5
OLD,2026-02-01 13:00,11
NEW,2026-02-01 14:00,12
OLD,2026-04-01 08:00,12
NEW,2026-04-01 08:00,123456
NEW,2026-04-01 09:00,123500.5
"""
    assert [(line, outcome, code) for line, outcome, code in await answers(worker_db, site, text)] == [
        (2, "stored", ""),
        (3, "refused", "beyond-register"),
        (4, "refused", "too-fine"),
        (5, "stored", ""),
        (6, "stored", ""),
        # Six to the end of the register and five more: more than 5 kWh in an hour.
        (7, "needs-confirmation", "backward"),
        (8, "needs-confirmation", "backward"),
        (9, "refused", "other-serial"),
        (10, "refused", "other-serial"),
        (11, "stored", ""),
        (12, "stored", ""),
    ]
    await derive(worker_db)
    rows = await table(worker_db, "SELECT sum(quantity)::bigint AS used FROM store.usage WHERE start < '2026-03-01'")
    assert rows == [{"used": 90_000}]
