"""What the database says, as a caller is answered: what passes by itself is 503, a fault of ours is nobody else's."""

import psycopg
import pytest
from psycopg import errors

from cloud.kit.constraints import meaning_of, passes
from cloud.kit.errors import Unavailable


def _said(sqlstate: str) -> psycopg.Error:
    return errors.lookup(sqlstate)("said")


@pytest.mark.parametrize(
    ("sqlstate", "code"),
    [
        ("57014", "too-slow"),  # a statement
        ("25P03", "too-slow"),  # a transaction in which nothing happened
        ("25P04", "too-slow"),  # a transaction as a whole
        ("55P03", "busy"),
        ("40001", "busy"),
        ("40P01", "busy"),
        ("25006", "database"),  # it has become a standby
        ("57P01", "database"),
        ("57P03", "database"),
        ("53300", "database"),
        ("53100", "database"),
    ],
)
def test_what_passes_by_itself_is_to_be_asked_again(sqlstate: str, code: str) -> None:
    error = _said(sqlstate)
    meaning = meaning_of(error)
    assert isinstance(meaning, Unavailable)
    assert meaning.code == code
    assert passes(error), "and so it is where work on many meets it"


@pytest.mark.parametrize("sqlstate", ["42703", "42601", "25P02", "XX000"])
def test_a_fault_of_ours_means_nothing_to_a_caller(sqlstate: str) -> None:
    assert meaning_of(_said(sqlstate)) is None
