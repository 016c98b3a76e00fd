"""Times of readings: never the same twice, which would make two values one; pure."""

from typing import Final

_APART_MS: Final = 60_000
"""Nobody reads so fast that his times run so far ahead: then the clock had been wrong and was set back."""


def next_instant(now_ms: int, last_ms: int) -> int:
    """The time of what happens at `now_ms`, when the last thing was given `last_ms`."""
    return now_ms if last_ms - now_ms > _APART_MS else max(now_ms, last_ms + 1)
