"""Who is asking, once recognised, for the time of one request."""

from dataclasses import dataclass

from cloud.identity.policy import Access, Kind
from cloud.kit.db import Asker


@dataclass(frozen=True, slots=True)
class Caller:
    """A signed-in user. `projects` are those in which he holds the permission that the request needs."""

    user_id: int
    login: str
    display_name: str
    locale: str
    access: Access
    projects: tuple[int, ...]
    token_id: int

    @property
    def kind(self) -> Kind:
        """`staff`, `resident` or `merchant`."""
        return self.access.kind

    @property
    def actor(self) -> str:
        """How he is named as the one who did something: `user:<login>`."""
        return f"user:{self.login}"

    @property
    def persons(self) -> tuple[int, ...]:
        """Ids of the person records that are this resident; empty for staff."""
        return self.access.persons

    @property
    def merchants(self) -> tuple[int, ...]:
        """The merchants whose user he is; empty for staff and residents."""
        return self.access.merchants

    @property
    def permissions(self) -> frozenset[str]:
        """Permissions held in at least one project."""
        return self.access.permissions

    def may(self, permission: str, project_id: int | None = None) -> bool:
        """Whether `permission` is held, in `project_id` or anywhere."""
        return self.access.may(permission, project_id)

    def asker(self, request_id: str) -> Asker:
        """The same, in the words of the database."""
        return Asker(self.kind, self.projects, self.persons, self.user_id, request_id, self.merchants)
