"""Who may sign in: database logins of the processes, and the users of the demo."""

from typing import Final

import psycopg
from psycopg import sql

from cloud.identity import service as identity
from cloud.identity.policy import Grant
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict

ROLES: Final = ("web", "ingest", "worker")
STAFF: Final = {"admin": "管理员", "cashier": "收费员", "guard": "门岗"}
RESIDENT: Final = "resident"
MERCHANT: Final = "merchant"


def grant_logins(owner_dsn: str, secrets: dict[str, str]) -> None:
    """Lets each process log in to the database under its own role with its own password."""
    with psycopg.connect(owner_dsn, autocommit=True) as conn:
        for role in ROLES:
            name, password = f"gatemeter_{role}", secrets[f"database-{role}"]
            # The server is given the verifier, so that no log of statements can hold the password.
            verifier = conn.pgconn.encrypt_password(password.encode(), name.encode(), b"scram-sha-256").decode()
            conn.execute(sql.SQL("ALTER ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(name), sql.Literal(verifier)))


async def create_users(owner_dsn: str, secrets: dict[str, str], project_id: int, resident_person_id: int) -> None:
    """Staff of each role, a resident of the estate, somebody at a merchant's. Each in a transaction of its own."""
    async with Database(owner_dsn, None, max_size=2) as db:
        for login, name in STAFF.items():
            await _create(db, login, name, secrets[login], (Grant(login, project_id),), None)
        await _create(db, RESIDENT, "业主", secrets[RESIDENT], (), (project_id, resident_person_id))
        await _create(db, MERCHANT, "面馆店员", secrets[MERCHANT], (), None)


async def _create(
    db: Database, login: str, name: str, password: str, grants: tuple[Grant, ...], person: tuple[int, int] | None
) -> None:
    try:
        async with db.transaction(SYSTEM) as conn:
            user_id = await identity.create_user(conn, login, name, password, grants=grants)
            if person is not None:
                await identity.link_resident(conn, user_id, *person)
    except Conflict:
        return  # made by an earlier start that was cut off
