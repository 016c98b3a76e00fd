"""Steps of what a gateway knows of vehicles: cut into messages that keep the limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.contract import codec, limits
from gateway.contract.access import ListEntry, Listing, PermitEntry, in_parts, read_entry
from gateway.contract.errors import ContractError
from tests.unit.gateway.access.updates import NOW, update

plates = st.text("京沪A0123456789", min_size=1, max_size=limits.MAX_PLATE_CHARS)


@given(st.lists(st.builds(ListEntry, st.text("ab", min_size=1, max_size=64), plates, st.sampled_from(Listing))))
def test_nothing_is_lost_between_the_parts(entries: list[ListEntry]) -> None:
    parts = in_parts(update(3, base=2), entries)
    assert [read_entry(body) for part in parts for body in part.entries] == entries
    assert [(part.part, part.parts, part.number, part.base) for part in parts] == [
        (number, len(parts), 3, 2) for number in range(1, len(parts) + 1)
    ]


def test_each_part_fits_a_message_however_long_its_entries_are() -> None:
    many = tuple(f"{number:016}" for number in range(limits.MAX_PLATES_OF_PERMIT))
    permits = [PermitEntry(f"{number:064}", many, NOW, NOW + 1) for number in range(2_500)]
    parts = in_parts(update(1), permits)
    assert len(parts) > 3
    for part in parts:
        assert codec.decode_access(codec.encode_access(part)) == part


def test_an_empty_step_is_one_message_and_a_boundless_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [part.entries for part in in_parts(update(1), [])] == [()]
    monkeypatch.setattr(limits, "MAX_ACCESS_ENTRIES", 1)
    monkeypatch.setattr(limits, "MAX_ACCESS_PARTS", 2)
    entry = ListEntry("1", "A", Listing.BLACK)
    assert len(in_parts(update(1), [entry] * 2)) == 2
    with pytest.raises(ContractError, match="3 parts"):
        in_parts(update(1), [entry] * 3)
