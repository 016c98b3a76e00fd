"""Bills by e-mail: from the issued run to the mail server, each once, and what fails fails alone with its reason."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import date

import pytest

from cloud.billing import jobs
from cloud.billing import service as billing
from cloud.billing.enclosures import ENCLOSERS
from cloud.billing.mailing import service as mailing
from cloud.billing.records import BillRow, BillRun
from cloud.kit.backoff import BackOff
from cloud.kit.db import SYSTEM, Database
from cloud.kit.errors import Conflict
from cloud.kit.jobs import JobContext
from cloud.kit.paging import PageRequest
from cloud.kit.periods import Period, next_month
from cloud.notices import service as notices
from cloud.notices.records import Notice, NoticeFilter, Preference, Settings
from cloud.notices.sending import Mailer, SendingRules
from cloud.notices.smtp import MailServer
from simulators.mail.server import MailServer as Peer
from simulators.mail.server import serving
from tests.integration.billing.site import JANUARY_USAGE, SINCE, Site, make_site

_RULES = SendingRules(poll_s=0.02, back_off=BackOff(first_s=0, factor=1, longest_s=0, tries=2))
_ADDRESSES = ("li@example.com", "refuses@example.com", None, "wang@example.com")


@dataclass
class World:
    """Four accounts, one without an address and one whose address the server refuses."""

    site: Site
    peer: Peer

    async def issued(self, *, mail_bills: bool | None = None) -> BillRun:
        """A run over January, issued."""
        async with self.site.db.transaction(SYSTEM) as conn:
            period = Period(SINCE, next_month(SINCE))
            options = billing.RunOptions(issue_at_once=True, mail_bills=mail_bills)
            job_id = await billing.start_run(conn, self.site.project.id, period, options=options)
            run = await billing.run_of_job(conn, job_id)
        return await billing.execute_run(self.site.db, SYSTEM, run.id)

    async def jobs(self) -> list[int]:
        """Runs that jobs wait to send."""
        query = "SELECT (payload ->> 'run_id')::int AS run FROM job WHERE kind = %s AND state = 'queued'"
        return [row["run"] for row in await self.site.rows(query, mailing.MAIL_JOB)]

    async def mail(self, run: BillRun) -> object:
        """Does the job."""
        async with self.site.db.transaction(SYSTEM) as conn:
            job_id = await mailing.ask_to_mail(conn, run, None)
        return await jobs.mail(JobContext(job_id, run.project_id, {"run_id": run.id}, self.site.db))

    async def notices(self) -> list[Notice]:
        async with self.site.db.transaction(SYSTEM) as conn:
            found = await notices.list_notices(conn, PageRequest(), NoticeFilter(self.site.project.id))
        return list(reversed(found.items))

    async def send(self) -> None:
        """Lets the worker send what waits."""
        server = MailServer(self.peer.host, self.peer.port, "bills@garden.example.com", "off", timeout_s=60)
        mailer = Mailer(self.site.db, server, ENCLOSERS, "https://garden.example.com", _RULES)
        stop = asyncio.Event()
        task = asyncio.create_task(mailer.run(stop))
        async with asyncio.timeout(60):
            while any(one.ended_at is None for one in await self.notices()):
                await asyncio.sleep(0.02)
        stop.set()
        await task


@pytest.fixture
async def world(worker_db: Database) -> AsyncIterator[World]:
    site = await make_site(worker_db, len(_ADDRESSES))
    for flat, address in zip(site.flats, _ADDRESSES, strict=True):
        for medium, usage in JANUARY_USAGE.items():
            await site.read(flat, medium, [usage])
        async with worker_db.transaction(SYSTEM) as conn:
            await conn.execute("UPDATE person SET email = %s WHERE id = %s", (address, flat.person_id))
    async with serving(Peer()) as peer:
        yield World(site, peer)


async def test_the_bills_of_a_run_go_out_once_and_say_who_did_not_get_one(world: World) -> None:
    run = await world.issued()
    assert await world.jobs() == []
    assert await world.mail(run) == {"run_id": run.id, "notices": 4}
    await world.send()
    assert await world.mail(run) == {"run_id": run.id, "notices": 0}
    await world.send()

    assert [(one.state, one.reason, one.sent_to) for one in await world.notices()] == [
        ("sent", "", "l***@example.com"),
        ("given_up", "refused", ""),
        ("suppressed", "no-address", ""),
        ("sent", "", "w***@example.com"),
    ]
    assert sorted(mail.recipients for mail in world.peer.taken) == [("li@example.com",), ("wang@example.com",)]
    async with world.site.db.transaction(SYSTEM) as conn:
        assert await mailing.mailed(conn, run.project_id, run.id) == {"sent": 2, "given_up": 1, "suppressed": 1}


async def test_a_bill_comes_as_text_as_html_and_as_pdf_in_the_language_of_the_person(world: World) -> None:
    async with world.site.db.transaction(SYSTEM) as conn:
        await notices.set_preference(conn, Preference(world.site.project.id, world.site.flats[0].person_id, "en"))
    await world.mail(await world.issued())
    await world.send()

    bill = (await world.site.bills())[0]
    message = next(one.message for one in world.peer.taken if one.recipients == ("li@example.com",))
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    assert message["Subject"] == "Bill for Jan 2026 · Demo"
    assert f"Bill {bill.number} for Jan 2026 comes to ¥{bill.total}." in text.get_content()
    assert f"https://garden.example.com/my/bills/{bill.id}" in text.get_content()
    assert 'src="cid:code-to-pay"' in html.get_content()
    assert "http" not in html.get_content().replace("https://garden.example.com", "")
    (pdf,) = message.iter_attachments()
    assert (pdf.get_filename(), pdf.get_content()[:5]) == (f"{bill.number}.pdf", b"%PDF-")
    chinese = next(one.message for one in world.peer.taken if one.recipients == ("wang@example.com",))
    assert "2026年1月" in chinese["Subject"]
    page = chinese.get_body(("html",))
    assert page is not None
    assert '<html lang="zh-CN">' in page.get_content()


@pytest.mark.parametrize(
    ("of_project", "of_run", "sends"),
    [(False, None, False), (True, None, True), (True, False, False), (False, True, True)],
)
async def test_sends_on_issue_where_the_run_or_else_the_project_wants_it(
    world: World, of_project: bool, of_run: bool | None, sends: bool
) -> None:
    async with world.site.db.transaction(SYSTEM) as conn:
        await notices.set_settings(conn, Settings(world.site.project.id, bills_on_issue=of_project))
    run = await world.issued(mail_bills=of_run)
    assert await world.jobs() == ([run.id] if sends else [])


async def test_one_bill_is_sent_again_to_the_address_of_today(world: World) -> None:
    await world.mail(await world.issued())
    await world.send()
    bills = await world.site.bills()

    async def again(bill: BillRow) -> Notice:
        async with world.site.db.transaction(SYSTEM) as conn:
            return await mailing.mail_bill(conn, bill)

    async with world.site.db.transaction(SYSTEM) as conn:
        await conn.execute("UPDATE person SET email = 'new@example.com'")
    repeated = await again(bills[0])
    with pytest.raises(Conflict, match="tried again by itself"):
        await again(bills[0])
    assert (await again(bills[1])).id == (await world.notices())[1].id
    await world.send()

    assert repeated.state == "queued"
    assert [mail.recipients for mail in world.peer.taken][2:] == [("new@example.com",)] * 2
    assert {one.state for one in await world.notices() if one.about_id in (bills[0].id, bills[1].id)} == {"sent"}


async def test_two_who_send_a_bill_at_once_send_it_once(world: World) -> None:
    run = await world.issued()
    bill = (await world.site.bills())[0]

    async def send() -> Notice | None:
        try:
            async with world.site.db.transaction(SYSTEM) as conn:
                return await mailing.mail_bill(conn, bill)
        except Conflict:
            return None

    await asyncio.gather(*(send() for _ in range(4)))
    (told,) = await world.notices()
    async with world.site.db.transaction(SYSTEM) as conn:
        assert await mailing.mailed(conn, told.project_id, run.id) == {"queued": 1}
    assert await world.mail(run) == {"run_id": run.id, "notices": 3}


async def test_a_preview_is_not_sent(world: World) -> None:
    async with world.site.db.transaction(SYSTEM) as conn:
        job_id = await billing.start_run(conn, world.site.project.id, Period(SINCE, date(2026, 2, 1)))
        run = await billing.run_of_job(conn, job_id)
    run = await billing.execute_run(world.site.db, SYSTEM, run.id)
    draft = (await world.site.bills())[0]

    for wrong in (lambda conn: mailing.ask_to_mail(conn, run, None), lambda conn: mailing.mail_bill(conn, draft)):
        await _refused(world, wrong)


async def _refused(world: World, wrong: Callable[..., object]) -> None:
    async with world.site.db.transaction(SYSTEM) as conn:
        with pytest.raises(Conflict):
            await wrong(conn)  # type: ignore[misc]
