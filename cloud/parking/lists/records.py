"""What the lists hand out."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

Listed = Literal["black", "white"]
LISTINGS: Final[tuple[Listed, ...]] = get_args(Listed)


@dataclass(frozen=True, slots=True)
class NewEntry:
    """A plate that is to be on a list; `lot_id` None for all lots, `valid_until` None for ever."""

    project_id: int
    listing: Listed
    plate: str
    reason: str
    lot_id: int | None
    valid_from: datetime
    valid_until: datetime | None


@dataclass(frozen=True, slots=True)
class Entry:
    """A plate on a list. `ended_at`: when somebody took it off before its time."""

    id: int
    project_id: int
    lot_id: int | None
    lot_code: str | None
    lot_name: str | None
    listing: Listed
    plate: str
    valid_from: datetime
    valid_until: datetime | None
    reason: str
    added_by: str
    created_at: datetime
    ended_at: datetime | None
    ended_by: str | None
    end_reason: str | None

    def state(self, now: datetime) -> Literal["coming", "in-force", "over", "ended"]:
        """Where it stands at `now`."""
        if self.ended_at is not None:
            return "ended"
        if self.valid_until is not None and self.valid_until <= now:
            return "over"
        return "in-force" if self.valid_from <= now else "coming"


@dataclass(frozen=True, slots=True)
class WhiteTime:
    """A time in which a plate was on the white list of a lot, or of all (None); `end` None while it is."""

    entry_id: int
    lot_id: int | None
    start: datetime
    end: datetime | None


@dataclass(frozen=True, slots=True)
class EntryFilter:
    """Which entries are wanted; None means any. `current_at`: not ended and not over then. `plate` begins so."""

    project_id: int | None = None
    lot_id: int | None = None
    listing: Listed | None = None
    plate: str | None = None
    current_at: datetime | None = None
