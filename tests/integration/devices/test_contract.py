"""What the database lets columns hold is what the contract knows: neither more nor less."""

import re
from enum import StrEnum

import pytest

from cloud.kit.db import SYSTEM, Database
from gateway.contract.configuration import ConfigurationState
from gateway.contract.messages import CommandState, GapReason
from gateway.contract.topics import Up

# An array of the column alone: the CHECK of its values.
_VALUES = """
    SELECT pg_get_constraintdef(c.oid) AS text FROM pg_constraint c
    JOIN pg_attribute a ON a.attrelid = c.conrelid AND c.conkey = ARRAY[a.attnum]
    WHERE c.conrelid = %s::regclass AND a.attname = %s AND c.contype = 'c'
"""


@pytest.mark.parametrize(
    ("table", "column", "known"),
    [
        ("reading_gap", "content", Up),
        ("reading_gap", "reason", GapReason),
        ("gateway_configuration", "state", ConfigurationState),
        ("command", "state", CommandState),
    ],
)
async def test_a_column_takes_what_the_contract_knows(
    owner_db: Database, table: str, column: str, known: type[StrEnum]
) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        (check,) = await (await conn.execute(_VALUES, (table, column))).fetchall()
    assert sorted(re.findall(r"'([^']+)'", check["text"])) == sorted(known)
