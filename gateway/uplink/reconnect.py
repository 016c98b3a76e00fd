"""When to try a broker again: exponential back-off with jitter, so that a thousand gateways do not come at once."""

import random
from dataclasses import dataclass, field


@dataclass(slots=True)
class Backoff:
    """Waits between attempts, in seconds. The wait doubles from `first_s` to `limit_s`; jitter takes up to half off."""

    first_s: float = 0.5
    limit_s: float = 30.0
    chance: random.Random = field(default_factory=random.SystemRandom)
    failures: int = 0

    def next_wait(self) -> float:
        """Counts one failure and tells how long to wait before the next attempt."""
        full = min(self.limit_s, self.first_s * float(1 << min(self.failures, 32)))
        self.failures += 1
        return full * self.chance.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """The next failure starts from the beginning."""
        self.failures = 0
