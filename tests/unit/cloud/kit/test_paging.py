"""Pages without gaps or repetitions, and cursors that cannot be forged into errors."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.errors import InvalidInput
from cloud.kit.paging import MAX_LIMIT, PageRequest, after_id, cursor_of, cut, page_request

KEYS = st.lists(st.one_of(st.integers(-(2**63), 2**63 - 1), st.text()), min_size=1, max_size=3)


@given(KEYS)
def test_a_cursor_is_read_back(key: list[str | int]) -> None:
    assert page_request(None, cursor_of(key), key_length=len(key)).after == tuple(key)


@pytest.mark.parametrize("cursor", ["", "x", "é", "WyJh", "e30", "W10", "WzEsMl0", "W251bGxd", "WzEuNV0", "W3RydWVd"])
def test_any_other_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        page_request(10, cursor)
    assert caught.value.field == "cursor"


@given(st.text())
def test_no_text_breaks_the_reading_of_cursors(cursor: str) -> None:
    with contextlib.suppress(InvalidInput):
        assert page_request(10, cursor).limit == 10


@pytest.mark.parametrize("limit", [0, -1, MAX_LIMIT + 1])
def test_limits_have_limits(limit: int) -> None:
    with pytest.raises(InvalidInput) as caught:
        page_request(limit, None)
    assert caught.value.field == "limit"


def test_a_cursor_of_another_list_is_refused() -> None:
    with pytest.raises(InvalidInput):
        after_id(PageRequest(10, ("abc",)))
    assert after_id(PageRequest(10, (7,))) == 7
    assert after_id(PageRequest(10), 99) == 99


@given(st.integers(0, 40), st.integers(1, 10))
def test_pages_cover_everything_once(rows: int, limit: int) -> None:
    seen: list[int] = []
    request = PageRequest(limit)
    while True:
        after = after_id(request)
        fetched = list(range(after + 1, rows + 1))[: limit + 1]
        page = cut(fetched, request, lambda row: (row,))
        seen += page.items
        if page.next_cursor is None:
            break
        assert len(page.items) == limit
        request = page_request(limit, page.next_cursor)
    assert seen == list(range(1, rows + 1))
