"""How much of a line's time devices that do not answer may take: an account that fills as time passes; pure."""

from typing import Final

SHARE: Final = 0.05
"""Of the line's time, for all its failing devices together."""
OUTAGE_SHARE: Final = 0.5
"""While nobody on the line answers, nobody is held up."""
_LONGEST_WINDOW_MS: Final = 60_000
_PERIODS_IN_A_WINDOW: Final = 4


class Allowance:
    """Milliseconds of line time that may be spent on devices known to fail.

    A visit may begin while the balance is not negative and is charged what it took: over any time t such visits take
    at most `SHARE` · t + `most_ms` + one visit.
    """

    def __init__(self, now_ms: int, period_ms: int) -> None:
        """`period_ms` is the shortest of the line."""
        self.most_ms = SHARE * min(_LONGEST_WINDOW_MS, _PERIODS_IN_A_WINDOW * period_ms)
        """What the account holds at most, so that a quiet night does not end in a burst."""
        self._balance = self.most_ms
        self._at_ms = now_ms
        self._share = SHARE

    def pass_to(self, now_ms: int, outage: bool) -> None:
        """Credits the time until `now_ms`; from then on an `outage` brings more. A clock set back brings nothing."""
        self._balance = min(self._balance + self._share * max(now_ms - self._at_ms, 0), self.most_ms)
        self._at_ms = now_ms
        self._share = OUTAGE_SHARE if outage else SHARE

    def wait_ms(self) -> int:
        """How long after the last `pass_to` the next visit may begin; 0 for now."""
        return 0 if self._balance >= 0 else int(-self._balance / self._share) + 1

    def charge(self, cost_ms: float) -> None:
        """What a visit to a failing device took."""
        self._balance -= cost_ms
