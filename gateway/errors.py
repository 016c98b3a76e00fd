"""The one error tree of the edge process."""

from dataclasses import dataclass
from pathlib import Path


class GatewayError(Exception):
    """Root of everything that the gateway raises on purpose."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a configuration file: where, which key, and what was expected there."""

    file: Path
    line: int
    key: str
    expected: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.key or '(file)'}: {self.expected}"


class ConfigError(GatewayError):
    """A configuration that must not be run with; carries every problem found, not only the first."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


class DeviceError(GatewayError):
    """A device could not be read; the line itself goes on."""


class NoAnswer(DeviceError):
    """The device said nothing within its time, or the connection broke while waiting."""


class ExceptionReply(DeviceError):
    """The device refused the request properly; `code` is its protocol's, `meaning` says it in words."""

    def __init__(self, code: int, meaning: str = "") -> None:
        super().__init__(meaning or f"exception code {code}")
        self.code = code


class MalformedReply(DeviceError):
    """The answer is not one to the question: wrong frame, unit, function or length. Never decoded."""


class DoubtfulReply(MalformedReply):
    """The answer is well-formed, but may be a second copy of another question's. The request was sent.

    Asking again gives certainty: the bus first waits until no such copy can be on its way any more.
    """


class LineDown(GatewayError):
    """No connection to the bus or its converter; no device is to blame."""
