"""What identity keeps, as its services and those of higher floors pass it around."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from cloud.identity.policy import Grant


@dataclass(frozen=True, slots=True)
class Recognised:
    """The user behind a valid token, and what is needed to know what he may do."""

    token_id: int
    user_id: int
    login: str
    display_name: str
    locale: str
    stale: bool
    grants: tuple[Grant, ...]
    links: tuple[tuple[int, int], ...]
    all_projects: tuple[int, ...]
    merchants: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class Login:
    """A login that opens the pages of a merchant."""

    user_id: int
    login: str
    display_name: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """What sign-in checks a password against."""

    id: int
    password_hash: str
    active: bool
    locked: bool


@dataclass(frozen=True, slots=True)
class User:
    """A user as staff see him, with the grants in their projects."""

    id: int
    login: str
    display_name: str
    locale: str
    active: bool
    created_at: datetime
    grants: tuple[Grant, ...]


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One change of one row."""

    id: int
    at: datetime
    project_id: int | None
    actor_kind: str
    user_id: int | None
    request_id: str | None
    table_name: str
    row_id: str
    action: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which entries are wanted; None: any. `end` is exclusive."""

    project_id: int | None = None
    table_name: str | None = None
    row_id: str | None = None
    user_id: int | None = None
    start: datetime | None = None
    end: datetime | None = None
    made_with: dict[str, Any] | None = None
    """Only entries about rows of `table_name` that were inserted with these values."""
