"""What PostgreSQL refuses, in the words of our errors: the one place that reads SQLSTATEs."""

import re

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound, Unavailable

_MOST_CHARS = 300
"""Of a reason that is kept."""

_OF_ROWS = frozenset({"20", "21", "22", "23", "27", "2F", "44", "54", "P0"})
"""Classes of SQLSTATE that the values of rows bring about, the statement being understood and allowed: CASE,
cardinality, data, integrity, triggers that change the same row, functions, views, limits that one row exceeds, PL/pgSQL
(what our triggers refuse)."""
# Without an SQLSTATE it is the client that speaks: a lost connection, a pool without one, an answer it cannot read.
# A module that cannot be imported is a half-upgraded installation.
_OF_THE_SYSTEM = (
    psycopg.OperationalError,
    psycopg.InterfaceError,
    psycopg.InternalError,
    OSError,
    MemoryError,
    ImportError,
    Unavailable,
)


def meaning_of(error: psycopg.Error) -> GatemeterError | None:
    """The error that a caller can do something about, or None for a fault of ours.

    Values of other rows are not repeated: the asker may not be allowed to know them.
    """
    table, constraint = error.diag.table_name or "row", error.diag.constraint_name or ""
    match error:
        case errors.UniqueViolation():
            return Conflict("already-exists", f"such a {table} exists already ({constraint})", constraint=constraint)
        case errors.ExclusionViolation():
            return Conflict("overlap", f"the {table} overlaps another one ({constraint})", constraint=constraint)
        case errors.ForeignKeyViolation():
            return _foreign_key(error, table, constraint)
        case errors.CheckViolation():
            return InvalidInput(
                "not-allowed", f"{table}: the values break the rule {constraint}", constraint=constraint
            )
        case errors.NotNullViolation():
            column = error.diag.column_name
            return InvalidInput("missing", f"{table}: {column} must be given", field=column)
        case psycopg.DataError():
            return _unstorable(error)
        case errors.IntegrityConstraintViolation():
            return Conflict("refused", error.diag.message_primary or "the database refuses the change")
        case errors.InsufficientPrivilege() if "row-level security" in (error.diag.message_primary or ""):
            # As for an id that exists nowhere: whose it is stays unknown.
            return NotFound("no-such-project", "there is no such project", field="project_id")
        case _:
            return _momentary(error)


def _momentary(error: psycopg.Error) -> GatemeterError | None:
    if isinstance(error, errors.QueryCanceled | errors.TransactionTimeout | errors.IdleInTransactionSessionTimeout):
        return Unavailable("too-slow", "this took too long: ask for less, or try again later")
    if isinstance(error, errors.SerializationFailure | errors.DeadlockDetected | errors.LockNotAvailable):
        return Unavailable("busy", "another change was faster: try again")
    if isinstance(error, PoolTimeout):
        return Unavailable("busy", "too many requests are under way: try again")
    if isinstance(error, errors.ReadOnlySqlTransaction):  # another server is the first one now
        return Unavailable("database", "the database takes no changes now")
    if isinstance(error, psycopg.OperationalError):
        return Unavailable("database", "the database does not answer now")
    return None


def _foreign_key(error: psycopg.Error, table: str, constraint: str) -> GatemeterError:
    if "is still referenced" in (error.diag.message_detail or ""):
        return Conflict("in-use", f"other rows still need this {table} ({constraint})", constraint=constraint)
    # <table>_project_id_<column>_fkey: the last column is what the asker named. The key itself stays untold.
    column = re.fullmatch(rf"{table}_(?:project_id_)?(\w+)_fkey", constraint)
    return NotFound(
        "unknown-reference",
        f"{table} names something that does not exist here ({constraint})",
        field=column[1] if column else None,
        constraint=constraint,
    )


def _unstorable(error: psycopg.DataError) -> InvalidInput | None:
    match error:
        case errors.NumericValueOutOfRange() | errors.StringDataRightTruncation() | errors.DatetimeFieldOverflow():
            return InvalidInput("out-of-range", "a value is too large to be kept")
        case errors.CharacterNotInRepertoire() | errors.UntranslatableCharacter():
            pass
        case _ if error.sqlstate is not None or "NUL" not in str(error):
            return None
    return InvalidInput("not-text", "a text holds characters that cannot be kept, such as NUL")


def passes(error: BaseException) -> bool:
    """Whether it is of the moment, the machine or the installation, not of what was worked on.

    Then the whole is to be repeated once that is mended: nobody was worked on, and nobody is at fault. Of what
    PostgreSQL refuses the class of the SQLSTATE decides (`_OF_ROWS`): what a class outside of it says (a column that is
    not there yet, a right, a cached plan, time, memory, a disk, a shutdown), and whatever an extension says in a class
    of its own, it would say of any row. Errors of our own code are of the one that it was at.
    """
    if isinstance(error, BaseExceptionGroup):
        return any(passes(one) for one in error.exceptions)
    if isinstance(error, psycopg.Error) and error.sqlstate is not None:
        return error.sqlstate[:2] not in _OF_ROWS
    return isinstance(error, _OF_THE_SYSTEM)


def too_much_at_once(error: BaseException) -> bool:
    """Whether less at once may go well: memory, locks, temporary files, rows that TimescaleDB decompresses."""
    return isinstance(error, MemoryError | errors.OutOfMemory | errors.ConfigurationLimitExceeded)


def refusal(error: Exception) -> tuple[str, str]:
    """Code and words under which work on many keeps the one that the database refused, or that broke our code."""
    if isinstance(error, psycopg.Error):
        return "refused", (error.diag.message_primary or str(error))[:_MOST_CHARS]
    if isinstance(error, GatemeterError):
        return error.code, error.detail[:_MOST_CHARS]
    first_line = (str(error).splitlines() or [""])[0]
    return "fault", f"{type(error).__name__}: {first_line}"[:_MOST_CHARS]
