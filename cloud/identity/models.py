"""What the API of identity takes and gives."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field

from cloud.identity.caller import Caller
from cloud.identity.policy import Grant
from cloud.identity.records import AuditEntry, User
from cloud.kit.inputs import Id, Input, ListQuery

Password = Annotated[str, Field(min_length=1, max_length=200)]


class TokenIn(Input):
    """Login and password for a bearer token."""

    login: Annotated[str, Field(min_length=1, max_length=100, examples=["li.na"])]
    password: Password
    name: Annotated[str, Field(max_length=100, description="What the token is for.", examples=["spreadsheet"])] = ""
    valid_hours: Annotated[int, Field(ge=1, le=24 * 90)] = 12


class TokenOut(BaseModel):
    """A bearer token. It is shown this once."""

    id: int
    token: str
    token_type: Literal["bearer"] = "bearer"  # noqa: S105 - the kind, no secret
    expires_at: datetime


class GrantIn(Input):
    """A role in a project."""

    role: Annotated[str, Field(max_length=40, examples=["cashier"])]
    project_id: Id

    def grant(self) -> Grant:
        """The same as the rules know it."""
        return Grant(self.role, self.project_id)


class GrantOut(BaseModel):
    """A role in a project, or in all of them (null)."""

    role: str
    project_id: int | None


class UserIn(Input):
    """A new member of staff."""

    login: Annotated[str, Field(min_length=2, max_length=100, examples=["li.na"])]
    display_name: Annotated[str, Field(min_length=1, max_length=100, examples=["李娜"])]
    password: Annotated[str, Field(min_length=10, max_length=200, examples=["correct horse battery"])]
    locale: Annotated[str, Field(max_length=20, examples=["zh-CN"])] = "zh-CN"
    grants: Annotated[list[GrantIn], Field(min_length=1, max_length=100)]


class UserOut(BaseModel):
    """A user, with his roles in the projects that the asker sees."""

    id: int
    login: str
    display_name: str
    locale: str
    active: bool
    created_at: datetime
    grants: list[GrantOut]

    @classmethod
    def of(cls, user: User) -> "UserOut":
        """From the service's."""
        grants = [GrantOut(role=grant.role, project_id=grant.project_id) for grant in user.grants]
        return cls(
            id=user.id,
            login=user.login,
            display_name=user.display_name,
            locale=user.locale,
            active=user.active,
            created_at=user.created_at,
            grants=grants,
        )


class MeOut(BaseModel):
    """The signed-in user."""

    user_id: int
    login: str
    display_name: str
    locale: str
    kind: Literal["staff", "resident", "merchant"]
    permissions: dict[str, list[int]] = Field(description="Each permission, and the ids of the projects it holds in.")
    projects: list[int]
    persons: list[int] = Field(description="The person records that are this resident.")
    merchants: list[int] = Field(description="The merchants whose coupons this user gives out.")

    @classmethod
    def of(cls, caller: Caller) -> "MeOut":
        """From the guard's."""
        held = caller.access.projects_by_permission
        return cls(
            user_id=caller.user_id,
            login=caller.login,
            display_name=caller.display_name,
            locale=caller.locale,
            kind=caller.kind,
            permissions={permission: list(held[permission]) for permission in sorted(held)},
            projects=list(caller.projects),
            persons=list(caller.persons),
            merchants=list(caller.merchants),
        )


class AuditEntryOut(BaseModel):
    """One change of one row. Secrets are never copied into it."""

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

    @classmethod
    def of(cls, entry: AuditEntry) -> "AuditEntryOut":
        """From the service's."""
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


class AuditQuery(ListQuery):
    """Which changes are wanted."""

    table_name: Annotated[str, Field(max_length=63, examples=["bill"])] | None = None
    row_id: Annotated[str, Field(max_length=64)] | None = None
    user_id: Id | None = None
