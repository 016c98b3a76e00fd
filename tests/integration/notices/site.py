"""A project with people to write to."""

from dataclasses import dataclass

from cloud.estate import service as estate
from cloud.kit.db import SYSTEM, Database
from cloud.kit.i18n import gettext as _
from cloud.kit.paging import PageRequest
from cloud.kit.security import Keys, Sealer
from cloud.notices import service as notices
from cloud.notices.records import PREPAID_LOW, Notice, NoticeFilter, Saying, Text


@dataclass(frozen=True, slots=True)
class Site:
    """A project; Li has an address, Wang has none."""

    db: Database
    project_id: int
    li: int
    wang: int

    def saying(
        self, key: str = "low-1", *, person_id: int | None = None, kind: str = PREPAID_LOW, subject: str = ""
    ) -> Saying:
        """Something to tell Li."""
        return Saying(
            person_id or self.li,
            kind,
            key,
            lambda: Text(subject or _("Bills"), (_("To pay"), "<b>2 < 3</b>"), "/my/bills"),
        )

    async def say(self, *sayings: Saying) -> dict[str, int]:
        """Says it and commits."""
        async with self.db.transaction(SYSTEM) as conn:
            return await notices.say(conn, self.project_id, sayings or [self.saying()])

    async def notices(self) -> list[Notice]:
        """All, oldest first."""
        async with self.db.transaction(SYSTEM) as conn:
            page = await notices.list_notices(conn, PageRequest(500), NoticeFilter(self.project_id))
        return list(reversed(page.items))

    async def only(self) -> Notice:
        """The only one there is."""
        (found,) = await self.notices()
        return found


async def make_site(db: Database, code: str = "demo") -> Site:
    """A project with two people."""
    sealer = Sealer(Keys.generate())
    async with db.transaction(SYSTEM) as conn:
        project = await estate.create_project(conn, code, "Demo Garden", "Asia/Shanghai", "CNY")
        li = await estate.create_person(conn, sealer, project.id, "Li", email="li@example.com")
        wang = await estate.create_person(conn, sealer, project.id, "Wang")
    return Site(db, project.id, li.id, wang.id)
