"""What a changed site owes: an answer wherever there was one before, and nothing else."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.probation import Probation, proofs_of
from gateway.outbox import Outbox
from gateway.plant import Changes


def test_a_replaced_line_owes_an_answer_of_those_that_answered() -> None:
    owed = proofs_of({"line e": frozenset({"e-2"})}, Changes(replaced=("line e",)), {"line e": ("e-1", "e-2", "e-3")})
    assert owed == {"line e": ("e-2",)}


def test_new_meters_on_a_line_that_answered_owe_one_too() -> None:
    owed = proofs_of({"line e": frozenset({"e-1"})}, Changes(replaced=("line e",)), {"line e": ("n-1", "n-2")})
    assert owed == {"line e": ("n-1", "n-2")}


def test_a_meter_owes_it_wherever_it_hangs_now() -> None:
    owed = proofs_of(
        {"line e": frozenset({"e-1"}), "line w": frozenset()},
        Changes(ended=("line e",), started=("line x", "line y")),
        {"line w": (), "line x": ("e-1",), "line y": ("y-1",)},
    )
    assert owed == {"line x": ("e-1",)}


def test_what_was_silent_or_is_untouched_owes_nothing() -> None:
    devices = {"line e": ("e-1",), "line w": ("w-1",)}
    alive = {"line e": frozenset[str](), "line w": frozenset({"w-1"})}
    assert proofs_of(alive, Changes(kept=("line w",), replaced=("line e",)), devices) == {}


async def test_a_report_that_the_disk_did_not_take_proves_no_cloud(tmp_path: Path) -> None:
    outbox = Outbox.open(tmp_path / "outbox.sqlite", 1 << 30)
    nothing: Any = None
    probation = Probation(nothing, outbox, 0, {})
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await probation.run()
    assert probation.lacking(60) == "no acknowledgement of the cloud within 60 s"
    outbox.close()


CODES = st.frozensets(st.sampled_from([f"m-{n}" for n in range(80)]))


@given(st.dictionaries(st.sampled_from("ab"), CODES), CODES, CODES)
def test_only_devices_of_the_part_are_asked_and_not_all_of_many(
    before: dict[str, frozenset[str]], first: frozenset[str], second: frozenset[str]
) -> None:
    devices = {"a": tuple(first), "c": tuple(second)}
    for part, asked in proofs_of(before, Changes(replaced=("a",), started=("c",)), devices).items():
        assert set(asked) <= set(devices[part])
        assert 1 <= len(asked) <= 32
