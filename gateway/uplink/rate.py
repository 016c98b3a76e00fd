"""How much of what strangers send is reported: whoever owns the broker must not be able to fill the outbox."""

from typing import Final

_MINUTE_MS: Final = 60_000


class PerMinute:
    """Lets `most` events of a minute through. Pure: time comes in as an argument, in milliseconds."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._at: list[int] = []

    def takes(self, now: int) -> bool:
        """Whether one more event may pass now; it is counted when it may."""
        self._at = [at for at in self._at if abs(now - at) < _MINUTE_MS]
        if len(self._at) >= self._most:
            return False
        self._at.append(now)
        return True
