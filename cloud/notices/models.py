"""What the API of notices takes and gives."""

from datetime import datetime
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field

from cloud.kit.inputs import Id, Input, ListQuery
from cloud.notices.records import Channel, Notice, NoticeFilter, NoticeState, Preference, Settings

Kind = Annotated[str, Field(max_length=40, examples=["bill"])]
Language = Annotated[str, Field(min_length=2, max_length=20, examples=["zh-CN"])]


class NoticeQuery(ListQuery):
    """Which notices are wanted."""

    person_id: Id | None = None
    account_id: Id | None = None
    state: NoticeState | None = None
    kind: Kind | None = None
    reason: Annotated[str, Field(max_length=40, examples=["no-address"])] | None = None
    about: Annotated[str, Field(max_length=40, examples=["bill"])] | None = None
    about_id: Id | None = None
    batch: Annotated[str, Field(max_length=40, examples=["bill-run:7"])] | None = None

    def wanted(self) -> NoticeFilter:
        """The same as the service knows it."""
        return NoticeFilter(**self.model_dump(exclude={"limit", "cursor"}))


class NoticeOut(BaseModel):
    """One thing told to one person. `sent_to` is masked; `next_try_at` counts while it waits."""

    model_config = ConfigDict(from_attributes=True)

    id: int
    project_id: int
    person_id: int
    account_id: int | None
    kind: str
    channel: Channel
    language: str
    subject: str
    paragraphs: list[str]
    link: str
    about: str
    about_id: int | None
    batch: str
    state: NoticeState
    reason: str
    error: str
    attempts: int
    next_try_at: datetime | None
    sent_to: Annotated[str, Field(examples=["l***@example.com"])]
    created_at: datetime
    ended_at: datetime | None

    @classmethod
    def of(cls, one: Notice) -> Self:
        """From the record."""
        fields = {name: getattr(one, name) for name in cls.model_fields} | {"paragraphs": list(one.paragraphs)}
        return cls.model_validate(fields | {"next_try_at": None if one.ended_at else one.next_try_at})


class PreferenceIn(Input):
    """What a person wants: `language` null is that of the project; `declined` kinds do not come by e-mail."""

    language: Language | None = None
    declined: Annotated[list[Kind], Field(default_factory=list, max_length=50, examples=[["prepaid.low"]])]


class PreferenceOut(BaseModel):
    """What a person wants."""

    person_id: int
    project_id: int
    language: str | None
    declined: list[str]

    @classmethod
    def of(cls, one: Preference) -> Self:
        """From the record."""
        return cls(
            person_id=one.person_id, project_id=one.project_id, language=one.language, declined=list(one.declined)
        )


class SettingsIn(Input):
    """How a project writes. `sender_name` empty: the project's name; `reply_to` empty: nobody reads answers."""

    by_email: Annotated[bool, Field(examples=[True])] = True
    bills_on_issue: Annotated[bool, Field(examples=[False])] = False
    language: Language = "zh-CN"
    sender_name: Annotated[str, Field(max_length=100, examples=["Sunshine Garden"])] = ""
    reply_to: Annotated[str, Field(max_length=254, examples=["office@example.com"])] = ""

    def of_project(self, project_id: int) -> Settings:
        """The same as the service knows it."""
        return Settings(project_id, **self.model_dump())


class SettingsOut(BaseModel):
    """How a project writes, and whether this installation can send e-mail at all."""

    project_id: int
    by_email: bool
    bills_on_issue: bool
    language: str
    sender_name: str
    reply_to: str
    mail_is_set_up: bool

    @classmethod
    def of(cls, one: Settings, mail_is_set_up: bool) -> Self:
        """From the record."""
        fields = {name: getattr(one, name) for name in cls.model_fields if name != "mail_is_set_up"}
        return cls.model_validate(fields | {"mail_is_set_up": mail_is_set_up})
