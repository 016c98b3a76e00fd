"""Two people decide about money: nobody approves what he asked for himself, unless the project allows it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import httpx
import pytest

from cloud.billing import service as billing
from cloud.billing.service import Policy
from cloud.kit.db import SYSTEM, Database
from tests.integration.app import Auth, People, once
from tests.integration.browser import Browser, text_of
from tests.integration.payments.owing import RULE, Owing, make_owing
from tests.worlds import World, world

TERMS = Policy(due_days=15, late_fee=RULE)
Document = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Desk:
    """A member of staff who asks and decides through the API."""

    owing: Owing
    client: httpx.AsyncClient
    auth: Auth

    async def post(self, path: str, **body: Any) -> Document:
        """What comes of something that is allowed."""
        answer = await self.ask(path, body)
        assert answer.is_success, answer.text
        found: Document = answer.json()
        return found

    async def ask(self, path: str, body: Document) -> httpx.Response:
        """Asks for something once."""
        return await self.client.post(f"/api/v1/{path}", json=body or None, headers={**self.auth, **once()})

    async def bill_of(self, nth: int) -> int:
        """The oldest bill of a flat."""
        return (await self.owing.site.bills(account_id=self.owing.site.flats[nth].account_id))[0].id


Asked = tuple[str, Document]
"""Where it is approved, and what is said there."""
YES: Document = {"decision": "approve"}


async def _concession(desk: Desk, nth: int) -> Asked:
    site = desk.owing.site
    filed = await desk.post(
        "concessions", project_id=site.project.id, account_id=site.flats[nth].account_id, rule="subsidy",
        kind="percent", name="Veterans", value="10", valid_from="2026-01-01", reason="decree",
    )  # fmt: skip
    return f"concessions/{filed['id']}/approvals", {"reason": "papers seen"}


async def _waiver(desk: Desk, nth: int) -> Asked:
    asked = await desk.post(f"bills/{await desk.bill_of(nth)}/late-fee-waivers", amount="1.00", reason="flood")
    return f"late-fee-waivers/{asked['id']}/decisions", YES


async def _note(desk: Desk, nth: int) -> Asked:
    body = {"kind": "credit_note", "lines": [{"position": 1, "amount": "5.00"}], "reason": "goodwill"}
    drafted = await desk.post(f"bills/{await desk.bill_of(nth)}/notes", **body)
    return f"notes/{drafted['id']}/approvals", {}


async def _release(desk: Desk, nth: int) -> Asked:
    account_id = desk.owing.site.flats[nth].account_id
    taken = await desk.post(
        "deposits", account_id=account_id, amount="500", method="cash", taken_on="2026-04-01", subject="keys"
    )
    asked = await desk.post(
        "releases", account_id=account_id, deposit_id=taken["id"], amount="500.00", method="cash",
        reason="moved out",
    )  # fmt: skip
    return f"releases/{asked['id']}/decisions", YES


async def _plan(desk: Desk, nth: int) -> Asked:
    account_id = desk.owing.site.flats[nth].account_id
    asked = await desk.post(
        "instalment-plans", account_id=account_id, bill_ids=[await desk.bill_of(nth)], reason="lost the job",
        monthly={"first": "2199-01-31", "count": 4},
    )  # fmt: skip
    return f"instalment-plans/{asked['id']}/decisions", YES


async def _tariff(desk: Desk, nth: int) -> Asked:
    content = {
        "currency": "CNY", "service": "parking_space",
        "components": [{"kind": "fixed", "code": "space", "per": "month", "price": "300.00"}],
    }  # fmt: skip
    draft = await desk.post(
        "tariff-drafts", project_id=desk.owing.site.project.id, code=f"space-{nth}", name="Space", content=content,
        valid_from="2026-03-01",
    )  # fmt: skip
    await desk.post(f"tariff-drafts/{draft['id']}/submissions")
    return f"tariff-drafts/{draft['id']}/approvals", {}


SUBJECTS: dict[str, Callable[[Desk, int], Awaitable[Asked]]] = {
    "concession": _concession,
    "waiver": _waiver,
    "note": _note,
    "release": _release,
    "plan": _plan,
    "tariff": _tariff,
}
REFUSALS = {"tariff": (403, "needs-second-person")}


@world
async def owing_world(db: Database) -> Owing:
    """Two flats whose bills of last winter are long overdue."""
    made = await make_owing(db, TERMS)
    await made.night(date(2026, 3, 26))
    return made


@pytest.fixture
def owing(owing_world: World[Owing], worker_db: Database) -> Owing:
    """That world, which only this test changes."""
    return owing_world.of(worker_db)


async def _allow(anna: Desk) -> None:
    """Both rules of the project, that of money and that of tariffs, let one person decide."""
    project_id = anna.owing.site.project.id
    body = {"project_id": project_id, "allowed": True}
    answer = await anna.client.put("/api/v1/tariff-approval-rules", json=body, headers=anna.auth)
    assert answer.is_success, answer.text
    await _let_one_decide(anna.owing)


async def _let_one_decide(owing: Owing) -> None:
    """The rule of money."""
    project_id = owing.site.project.id
    async with owing.db.transaction(SYSTEM) as conn:
        today, _ = await billing.terms_today(conn, project_id)
        await billing.set_policy(conn, project_id, today, replace(TERMS, own_approval=True))


@pytest.mark.parametrize("subject", SUBJECTS)
async def test_nobody_approves_his_own_unless_the_project_allows_it(
    subject: str, owing: Owing, app_client: httpx.AsyncClient, people: People
) -> None:
    anna, bert = [Desk(owing, app_client, await people.staff("admin")) for _ in range(2)]
    path, said = await SUBJECTS[subject](anna, 0)
    refused = await anna.ask(path, said)
    assert (refused.status_code, refused.json()["code"]) == REFUSALS.get(subject, (409, "own-request"))
    await bert.post(path, **said)
    path, said = await SUBJECTS[subject](anna, 1)
    assert not (await anna.ask(path, said)).is_success
    await _allow(anna)
    await anna.post(path, **said)
    assert await owing.site.proof() == []


DECIDED = 'name="decision" value="approve"'
PAGES = {
    "concession": ("/concessions/{}", 'action="/concessions/{}/approve"'),
    "waiver": ("/bills/{bill}", DECIDED),
    "note": ("/bills/{}", 'action="/notes/{}/approve"'),
    "release": ("/releases", DECIDED),
    "plan": ("/instalment-plans/{}", DECIDED),
}
"""Where a subject is shown, and its button to approve it."""


@pytest.mark.parametrize("subject", PAGES)
async def test_a_page_says_why_one_cannot_approve_his_own(
    subject: str, owing: Owing, app_client: httpx.AsyncClient, people: People
) -> None:
    auths = [await people.staff("admin") for _ in range(2)]
    desk = Desk(owing, app_client, auths[0])
    path, _ = await SUBJECTS[subject](desk, 0)
    number, bill_id = path.split("/")[1], await desk.bill_of(0)
    page, button = (told.format(number, bill=bill_id) for told in PAGES[subject])
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    anna, bert = (Browser(app_client, auth) for auth in auths)
    seen = await anna.see(page)
    assert "somebody else has to approve it" in text_of(seen)
    assert button not in seen
    others = await bert.see(page)
    assert "somebody else has to approve it" not in text_of(others)
    assert button in others
    await _let_one_decide(owing)
    assert button in await anna.see(page)


async def test_what_was_refused_to_the_asker_is_still_his_to_take_back(
    owing: Owing, app_client: httpx.AsyncClient, people: People
) -> None:
    """The button to reject stays."""
    auth = await people.staff("admin")
    path, _ = await _release(Desk(owing, app_client, auth), 0)
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    anna = Browser(app_client, auth)
    assert 'name="decision" value="reject"' in await anna.see("/releases")
    await anna.send(f"/releases/{path.split('/')[1]}/decide", decision="reject", note="a mistake")
    assert 'name="decision"' not in await anna.see("/releases")


async def test_a_concession_is_approved_on_its_page_by_another(
    owing: Owing, app_client: httpx.AsyncClient, people: People
) -> None:
    auths = [await people.staff("manager", owing.site.project.id) for _ in range(2)]
    path, _ = await _concession(Desk(owing, app_client, auths[0]), 0)
    page = f"/concessions/{path.split('/')[1]}"
    async with people.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE access_token SET kind = 'session'")
    anna, bert = (Browser(app_client, auth) for auth in auths)
    await anna.see(page)
    await anna.send(f"{page}/approve", 409, reason="papers seen")
    await bert.send(f"{page}/approve", reason="papers seen")
    assert "papers seen" in text_of(await anna.see(page))
