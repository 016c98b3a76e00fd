"""Notices, what people want to get and how projects write, as the services hand them out."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

NoticeState = Literal["queued", "sending", "sent", "failed", "given_up", "suppressed"]
STATES: Final[tuple[NoticeState, ...]] = ("queued", "sending", "sent", "failed", "given_up", "suppressed")
ENDED: Final[frozenset[NoticeState]] = frozenset({"sent", "given_up", "suppressed"})
Channel = Literal["email"]

BILL: Final = "bill"
PREPAID_LOW: Final = "prepaid.low"
SUPPLY_WARNING: Final = "supply.warning"
SUPPLY_CUT: Final = "supply.cut"
SUPPLY_BACK: Final = "supply.back"
PERMIT_ENDING: Final = "permit.ending"
KINDS: Final[dict[str, bool]] = {
    BILL: False,
    PREPAID_LOW: False,
    SUPPLY_WARNING: True,
    SUPPLY_CUT: True,
    SUPPLY_BACK: False,
    PERMIT_ENDING: False,
}
"""Every kind of notice, and whether it must be told: nobody can decline it. Who tells another one adds it here."""

OPTIONAL_KINDS: Final = tuple(kind for kind, mandatory in KINDS.items() if not mandatory)
"""What a person may decline."""


@dataclass(frozen=True, slots=True)
class Text:
    """What a notice says, in one language: a line, paragraphs without markup, and a path of this service to look at.

    `link` is a path such as /my/bills/17 whose page asks who it is: it must hold no secret.
    """

    subject: str
    paragraphs: tuple[str, ...]
    link: str = ""


@dataclass(frozen=True, slots=True)
class Saying:
    """Something to tell one person.

    `key` is said once in a project, however often it is asked for. `write` is called with the person's language in
    use (`i18n.gettext`, `show_money` …). `about`: what it tells of, such as ("bill", 17); `batch`: what many are said
    for at once, such as "bill-run:7".
    """

    person_id: int
    kind: str
    key: str
    write: Callable[[], Text]
    account_id: int | None = None
    about: tuple[str, int] | None = None
    batch: str = ""


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing told to one person and how far it got. `reason` is a code, `error` what the mail server said."""

    id: int
    project_id: int
    person_id: int
    account_id: int | None
    kind: str
    dedupe_key: str
    channel: Channel
    language: str
    subject: str
    paragraphs: tuple[str, ...]
    link: str
    about: str
    about_id: int | None
    batch: str
    state: NoticeState
    reason: str
    error: str
    attempts: int
    next_try_at: datetime
    message_id: UUID
    sent_to: str
    created_at: datetime
    queued_at: datetime
    ended_at: datetime | None


@dataclass(frozen=True, slots=True)
class Due:
    """A notice that a worker has taken: `address` is where to, None without one; `attempts` counts this one."""

    notice: Notice
    address: str | None
    project_name: str
    settings: "Settings"
    wanted: "Preference"


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that comes with a notice."""

    name: str
    media_type: str
    content: bytes


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture inside the HTML text, which names it as `cid:<name>`."""

    name: str
    png: bytes


@dataclass(frozen=True, slots=True)
class Enclosure:
    """What a kind of notice carries beside its words: an HTML text in their place, pictures of it, files."""

    html: str | None = None
    pictures: tuple[Picture, ...] = ()
    attachments: tuple[Attachment, ...] = ()


NOTHING: Final = Enclosure()


@dataclass(frozen=True, slots=True)
class NoticeFilter:
    """Which notices are wanted; None: any."""

    project_id: int | None = None
    person_id: int | None = None
    account_id: int | None = None
    state: NoticeState | None = None
    kind: str | None = None
    reason: str | None = None
    about: str | None = None
    about_id: int | None = None
    batch: str | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """What a person wants. `language` None: that of the project."""

    project_id: int
    person_id: int
    language: str | None = None
    declined: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settings:
    """How a project writes to people. `sender_name` and `reply_to` are empty for the installation's own."""

    project_id: int
    by_email: bool = True
    bills_on_issue: bool = False
    language: str = "zh-CN"
    sender_name: str = ""
    reply_to: str = ""
