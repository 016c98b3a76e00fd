"""How often one may try something: per client address and per what is tried, in this process's memory."""

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import MovingWindowRateLimiter

from cloud.kit.errors import TooManyRequests


class Throttle:
    """Counts attempts in a moving window of a minute."""

    def __init__(self, to: str = "to sign in", *, per_client: int = 20, per_login: int = 10) -> None:
        """`to`: what is tried, in the refusal; a login or whatever else somebody may guess is `per_login`."""
        self._to = to
        self._limiter = MovingWindowRateLimiter(MemoryStorage())
        self._per_client = RateLimitItemPerMinute(per_client)
        self._per_login = RateLimitItemPerMinute(per_login)

    def count(self, client: str, login: str) -> None:
        """Counts an attempt. Raises TooManyRequests."""
        allowed = self._limiter.hit(self._per_client, "client", client)
        allowed = self._limiter.hit(self._per_login, "login", login.lower()[:100]) and allowed
        if not allowed:
            raise TooManyRequests("too-many-attempts", f"too many attempts {self._to}: wait a minute", retry_after_s=60)
