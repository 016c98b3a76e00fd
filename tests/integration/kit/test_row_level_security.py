"""A forgotten filter shows nothing: what each asker sees without any WHERE."""

import psycopg
import pytest

from cloud.kit.db import NOBODY, SIGN_IN, SYSTEM, Asker, Database


@pytest.fixture
def two_projects(owner_dsn: str) -> tuple[int, int]:
    """Two projects with a building each."""
    with psycopg.connect(owner_dsn) as conn:
        ids = []
        for code in ("a", "b"):
            row = conn.execute(
                "INSERT INTO project (code, name, time_zone) VALUES (%s, %s, 'Asia/Shanghai') RETURNING id",
                (code, code),
            ).fetchone()
            assert row is not None
            ids.append(row[0])
            conn.execute("INSERT INTO building (project_id, code, name) VALUES (%s, 'b1', 'B1')", (row[0],))
    return ids[0], ids[1]


async def _buildings(db: Database, asker: Asker) -> list[int]:
    async with db.transaction(asker) as conn:
        rows = await (await conn.execute("SELECT project_id FROM building ORDER BY project_id")).fetchall()
    return [row["project_id"] for row in rows]


async def test_staff_see_their_projects_only(web_db: Database, two_projects: tuple[int, int]) -> None:
    first, second = two_projects
    assert await _buildings(web_db, Asker(kind="staff", projects=(first,))) == [first]
    assert await _buildings(web_db, Asker(kind="staff", projects=(first, second))) == [first, second]


@pytest.mark.parametrize("asker", [NOBODY, SIGN_IN, SYSTEM, Asker(kind="staff")], ids=lambda asker: asker.kind)
async def test_the_web_sees_nothing_without_a_scope(
    web_db: Database, two_projects: tuple[int, int], asker: Asker
) -> None:
    assert await _buildings(web_db, asker) == []


async def test_the_scope_ends_with_its_transaction(web_db: Database, two_projects: tuple[int, int]) -> None:
    assert await _buildings(web_db, Asker(kind="staff", projects=two_projects)) == list(two_projects)
    assert await _buildings(web_db, NOBODY) == []


async def test_the_worker_sees_all_when_it_says_system(worker_db: Database, two_projects: tuple[int, int]) -> None:
    assert await _buildings(worker_db, SYSTEM) == list(two_projects)
    assert await _buildings(worker_db, NOBODY) == []


async def test_staff_cannot_write_into_another_project(web_db: Database, two_projects: tuple[int, int]) -> None:
    first, second = two_projects
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        async with web_db.transaction(Asker(kind="staff", projects=(first,))) as conn:
            await conn.execute("INSERT INTO building (project_id, code, name) VALUES (%s, 'x', 'X')", (second,))


async def test_the_web_role_owns_no_table_and_every_table_of_a_project_is_guarded(owner_dsn: str) -> None:
    with psycopg.connect(owner_dsn) as conn:
        owned = conn.execute(
            "SELECT count(*) FROM pg_class WHERE pg_get_userbyid(relowner) LIKE 'gatemeter_%'"
        ).fetchone()
        unguarded = conn.execute(
            """SELECT c.relname FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'project_id'
               WHERE c.relkind IN ('r', 'p') AND c.relnamespace = 'public'::regnamespace AND NOT c.relrowsecurity"""
        ).fetchall()
    assert owned == (0,)
    assert unguarded == []


async def test_every_change_leaves_an_audit_entry(web_db: Database, two_projects: tuple[int, int]) -> None:
    asker = Asker(kind="staff", projects=two_projects[:1], user_id=7, request_id="req-1")
    async with web_db.transaction(asker) as conn:
        await conn.execute("UPDATE building SET name = 'New name'")
    async with web_db.transaction(asker) as conn:
        query = "SELECT * FROM audit_entry WHERE table_name = 'building' AND action = 'update'"
        entries = await (await conn.execute(query)).fetchall()
    assert [(e["user_id"], e["request_id"], e["before"], e["after"]) for e in entries] == [
        (7, "req-1", {"name": "B1"}, {"name": "New name"})
    ]
