"""What PostgreSQL refuses, in the words of our errors: the one place that reads SQLSTATEs."""

import re

import psycopg
from psycopg import errors
from psycopg_pool import PoolTimeout

from cloud.kit.errors import Conflict, GatemeterError, InvalidInput, NotFound, Unavailable

_MOST_CHARS = 300
"""Of a reason that is kept."""


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
    if isinstance(error, errors.QueryCanceled):
        return Unavailable("too-slow", "this took too long: ask for less, or try again later")
    if isinstance(error, errors.SerializationFailure | errors.DeadlockDetected | errors.LockNotAvailable):
        return Unavailable("busy", "another change was faster: try again")
    if isinstance(error, PoolTimeout):
        return Unavailable("busy", "too many requests are under way: try again")
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


def passes(error: Exception) -> bool:
    """Whether it is of the moment or the machine, not of what was worked on: the same may go well a little later.

    A limit of the server that one row exceeds is not.
    """
    if isinstance(error, errors.ProgramLimitExceeded):
        return False
    of_the_moment = (
        psycopg.OperationalError,
        psycopg.InterfaceError,
        errors.ReadOnlySqlTransaction,
        errors.IdleInTransactionSessionTimeout,
        OSError,
        Unavailable,
    )
    return isinstance(error, of_the_moment)


def refusal(error: Exception) -> tuple[str, str]:
    """Code and words under which work on many keeps the one that the database refused, or that broke our code."""
    if isinstance(error, psycopg.Error):
        return "refused", (error.diag.message_primary or str(error))[:_MOST_CHARS]
    if isinstance(error, GatemeterError):
        return error.code, error.detail[:_MOST_CHARS]
    first_line = (str(error).splitlines() or [""])[0]
    return "fault", f"{type(error).__name__}: {first_line}"[:_MOST_CHARS]
