"""What the office of a project does about money, by the doors that people use: REST, and jobs that a worker does."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import httpx

from cloud.kit.jobs import JobContext
from cloud.kit.periods import next_month
from cloud.worker import all_handlers
from tests.integration.app import Auth, once
from tests.integration.billing.site import Flat, Site

Document = dict[str, Any]
_HANDLERS = all_handlers()


@dataclass(frozen=True, slots=True)
class Office:
    """A member of staff in front of the API of one project."""

    site: Site
    client: httpx.AsyncClient
    auth: Auth

    async def get(self, path: str, **query: str | int) -> Document:
        """What the API says; the path without its prefix."""
        answer = await self.client.get(f"/api/v1/{path}", params=query, headers=self.auth)
        assert answer.status_code == 200, answer.text
        found: Document = answer.json()
        return found

    async def items(self, path: str, **query: str | int) -> list[Document]:
        """A list, oldest first."""
        found: list[Document] = (await self.get(path, limit=200, **query))["items"]
        return sorted(found, key=lambda one: int(one["id"]))

    async def post(self, path: str, **body: Any) -> Document:
        """What comes of asking for something that is allowed."""
        answer = await self.ask(path, **body)
        assert answer.is_success, answer.text
        found: Document = answer.json()
        return found

    async def refused(self, path: str, **body: Any) -> tuple[int, str]:
        """Status and code with which something is refused."""
        answer = await self.ask(path, **body)
        assert not answer.is_success, answer.text
        return answer.status_code, answer.json().get("code", "")

    async def ask(self, path: str, **body: Any) -> httpx.Response:
        """Asks for something once."""
        return await self.client.post(f"/api/v1/{path}", json=body, headers={**self.auth, **once()})

    async def work(self, job_id: int) -> None:
        """Does a job as the worker does it."""
        (job,) = await self.site.rows("SELECT kind, payload FROM job WHERE id = %s", job_id)
        await _HANDLERS[job["kind"]](JobContext(job_id, self.site.project.id, job["payload"], self.site.db))

    async def nightly(self, kind: str) -> dict[str, object] | None:
        """Does what is scheduled every night."""
        return await _HANDLERS[kind](JobContext(1, None, {}, self.site.db))

    async def preview(self, month: date, **options: Any) -> Document:
        """A run over the month whose drafts are made."""
        body = {"project_id": self.site.project.id, "start": f"{month}", "end": f"{next_month(month)}", **options}
        started = await self.post("bill-runs", **body)
        await self.work(started["job_id"])
        return await self.run(started["run_id"])

    async def run(self, run_id: int) -> Document:
        """A run, with the accounts that it could not bill under `failures`."""
        failures = await self.get(f"bill-runs/{run_id}/failures")
        return {**await self.get(f"bill-runs/{run_id}"), "failures": failures["items"]}

    async def approve(self, run: Document) -> Document:
        """Approves a preview and issues it."""
        approved = await self.post(f"bill-runs/{run['id']}/approvals")
        await self.work(approved["job_id"])
        return await self.run(run["id"])

    async def bill(self, month: date, **options: Any) -> Document:
        """A run over the month, from its start to issued bills."""
        return await self.approve(await self.preview(month, **options))

    async def bills(self, flat: Flat | None = None) -> list[Document]:
        """Bills of the project or of one flat, oldest first."""
        return await self.items("bills", **({} if flat is None else {"account_id": flat.account_id}))

    async def whole(self, bill: Document) -> Document:
        """The bill with its charges and lines."""
        return await self.get(f"bills/{bill['id']}")

    async def document(self, bill: Document, form: str, language: str = "en") -> bytes:
        """The bill as a file, `pdf` or `html`."""
        query = {"format": form, "language": language}
        answer = await self.client.get(f"/api/v1/bills/{bill['id']}/document", params=query, headers=self.auth)
        assert answer.status_code == 200, answer.text
        return answer.content
