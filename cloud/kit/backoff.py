"""When to try again what another system did not take."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class BackOff:
    """So many tries; the pause after the first is `first_s`, each later one `factor` times that, up to `longest_s`."""

    first_s: int
    factor: int
    longest_s: int
    tries: int

    def delay_s(self, attempts: int, lot: int) -> int | None:
        """Seconds until the next try after so many; None: there is none. `lot`, 0 to 999, spreads it by a fifth."""
        if attempts >= self.tries:
            return None
        # Nobody counts that far, and the power of a server that is away for a year would be a number of pages.
        whole: int = min(self.first_s * self.factor ** min(attempts - 1, 64), self.longest_s)
        return whole * (800 + lot * 400 // 999) // 1000
