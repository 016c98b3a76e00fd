"""Sort keys of pages as they come back from outside: checked before they reach a statement."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from cloud.kit.errors import InvalidInput
from cloud.kit.paging import MAX_ID, PageRequest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def after_number(page: PageRequest, nothing: int | None = None) -> int | None:
    """A key of one number (an id, milliseconds since 1970). Raises InvalidInput."""
    if page.after is None:
        return nothing
    key = page.after[0]
    if not isinstance(key, int) or not -(2**62) < key <= MAX_ID:
        raise _bad()
    return key


def after_time_and_id(page: PageRequest) -> tuple[datetime | None, UUID | None]:
    """A key of milliseconds since 1970 and a UUID. Raises InvalidInput."""
    if page.after is None:
        return None, None
    at, found = page.after
    try:
        return _EPOCH + timedelta(milliseconds=int(at)), UUID(str(found))
    except (ValueError, OverflowError) as error:
        raise _bad() from error


def instant_key(instant: datetime) -> int:
    """Microseconds from 1970 to `instant` (timezone-aware): all that a column keeps of it."""
    return (instant - _EPOCH) // timedelta(microseconds=1)


def after_instant_and_number(page: PageRequest) -> tuple[datetime | None, int]:
    """A key of `instant_key` and a number, None and 0 on the first page. Raises InvalidInput."""
    if page.after is None:
        return None, 0
    at, number = page.after
    if not isinstance(at, int) or not isinstance(number, int) or not 0 <= number <= MAX_ID:
        raise _bad()
    try:
        return _EPOCH + timedelta(microseconds=at), number
    except OverflowError as error:
        raise _bad() from error


def after_texts(page: PageRequest, count: int) -> tuple[int, tuple[str, ...]]:
    """A key of one number and `count` texts. Raises InvalidInput."""
    if page.after is None:
        return 0, ("",) * count
    number, *texts = page.after
    if not isinstance(number, int) or not all(isinstance(text, str) and "\0" not in text for text in texts):
        raise _bad()
    return number, tuple(map(str, texts))


def _bad() -> InvalidInput:
    return InvalidInput("bad-cursor", "expected the next_cursor of an earlier answer", field="cursor")
