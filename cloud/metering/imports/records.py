"""What imports of readings are: the file, how it is read, and what became of each row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Kind = Literal["register", "interval"]
"""Values of a register, or quantities of intervals."""
Stamped = Literal["start", "end"]
State = Literal["queued", "running", "done", "failed"]
Outcome = Literal["new", "waiting", "stored", "repeated", "other-value", "needs-confirmation", "refused"]
"""new: not looked at; waiting: understood and not stored yet. The others are answers."""


@dataclass(frozen=True, slots=True)
class NewImport:
    """How a file is to be read. `stamped`, `interval_s` and `opening` are of interval files, see ReadingImport.

    `time_zone`: IANA name of the clock of times without an offset; empty: that of the project.
    """

    project_id: int
    file_name: str
    actor: str
    kind: Kind = "register"
    dry_run: bool = False
    stamped: Stamped = "start"
    interval_s: int | None = None
    opening: str = ""
    time_zone: str = ""


@dataclass(frozen=True, slots=True)
class ReadingImport:
    """A file and how far it is.

    `stamped`: whether the time of a row is where its interval begins or ends. `interval_s`: length of rows that do not
    state theirs; a multiple of 86400 is local days. `opening`: where a register without earlier readings begins, in
    the unit of the rows. `time_zone`: see NewImport. `counts`: rows by outcome.
    """

    id: int
    project_id: int
    file_name: str
    sha256: bytes
    size: int
    kind: Kind
    stamped: Stamped
    interval_s: int | None
    opening: str
    time_zone: str
    dry_run: bool
    state: State
    loaded: bool
    header: Sequence[str]
    rows: int
    answered: int
    counts: Mapping[Outcome, int]
    error_code: str
    error: str
    actor: str
    created_at: datetime
    finished_at: datetime | None

    @property
    def is_working(self) -> bool:
        """Whether it is under way or waits for its turn."""
        return self.state in ("queued", "running")

    @property
    def open_rows(self) -> int:
        """Rows that are not in the store and may get there yet."""
        return sum(self.counts.get(outcome, 0) for outcome in ("refused", "needs-confirmation"))


@dataclass(frozen=True, slots=True)
class ImportRow:
    """One row of the file and its answer. `value` and `register` in the base unit of the channel.

    `register`: of an interval, where the register stands at its end. `confirmed`: why it is right although it looks
    wrong.
    """

    line: int
    raw: Sequence[str]
    outcome: Outcome
    code: str
    field: str
    detail: str
    meter_id: int | None
    channel: int | None
    taken_at: datetime | None
    until_at: datetime | None
    value: int | None
    register: int | None
    confirmed: str
    confirmer: str


@dataclass(frozen=True, slots=True)
class ImportFilter:
    """Which imports are wanted."""

    project_id: int | None = None
    state: State | None = None
    kind: Kind | None = None


@dataclass(frozen=True, slots=True)
class RowFilter:
    """Which rows of an import are wanted; `not_stored`: those that are not in the store and not there already."""

    outcome: Outcome | None = None
    code: str | None = None
    not_stored: bool = False
