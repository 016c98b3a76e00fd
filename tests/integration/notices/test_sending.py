"""The worker's loop against a real SMTP server: everything goes out once, what fails says why, and nothing is lost."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from email.message import EmailMessage
from typing import Any, LiteralString

import pytest

from cloud.kit.backoff import BackOff
from cloud.kit.db import SYSTEM, Asker, Database
from cloud.kit.errors import Conflict, NotFound
from cloud.notices import outbox_repository, sending, service
from cloud.notices.letters import letter
from cloud.notices.records import (
    PREPAID_LOW,
    SUPPLY_WARNING,
    Attachment,
    Due,
    Enclosure,
    Notice,
    Picture,
    Preference,
    Settings,
)
from cloud.notices.sending import Encloser, Mailer, SendingRules
from cloud.notices.smtp import MailServer
from simulators.mail.server import MailServer as Peer
from simulators.mail.server import serving
from tests.integration.notices.site import Site, make_site

_SOON = BackOff(first_s=0, factor=1, longest_s=0, tries=3)
_RULES = SendingRules(sessions=2, poll_s=0.02, back_off=_SOON, server_pause=replace(_SOON, tries=10**6))


@dataclass
class World:
    """A project and a mail server."""

    site: Site
    peer: Peer

    async def until(
        self,
        what: Callable[[], Awaitable[bool]],
        *,
        on: bool = True,
        rules: SendingRules = _RULES,
        enclosers: dict[str, Encloser] | None = None,
    ) -> None:
        """Sends until `what` is so."""
        server = MailServer(self.peer.host, self.peer.port, "bills@garden.example.com", "off", timeout_s=60)
        mailer = Mailer(self.site.db, server if on else None, enclosers or {}, "https://garden.example.com", rules)
        stop = asyncio.Event()
        task = asyncio.create_task(mailer.run(stop))
        try:
            async with asyncio.timeout(60):
                while not task.done() and not await what():
                    await asyncio.sleep(0.01)
        finally:
            stop.set()
            await task

    async def ended(self) -> bool:
        return all(one.ended_at is not None for one in await self.site.notices())

    async def address(self, address: str) -> None:
        await self.sql("UPDATE person SET email = %s WHERE id = %s", address, self.site.li)

    async def sql(self, statement: LiteralString, *values: object) -> None:
        async with self.site.db.transaction(SYSTEM) as conn:
            await conn.execute(statement, values)


@pytest.fixture
async def world(worker_db: Database) -> AsyncIterator[World]:
    async with serving(Peer()) as peer:
        yield World(await make_site(worker_db), peer)


async def test_a_notice_arrives_once_and_is_told_as_sent(world: World) -> None:
    await world.site.say()
    await world.until(world.ended)

    (mail,) = world.peer.taken
    notice = await world.site.only()
    assert (notice.state, notice.sent_to, notice.attempts, notice.reason) == ("sent", "l***@example.com", 1, "")
    assert mail.recipients == ("li@example.com",)
    assert mail.message["Message-ID"] == f"<{notice.message_id}@garden.example.com>"
    assert mail.message["Subject"] == "账单"
    assert "https://garden.example.com/my/notices" in mail.message["List-Unsubscribe"]


async def test_many_workers_send_each_notice_once(world: World) -> None:
    await world.site.say(*(world.site.saying(f"n-{number}") for number in range(60)))
    await world.until(world.ended, rules=replace(_RULES, sessions=5))

    ids = [mail.message["Message-ID"] for mail in world.peer.taken]
    assert len(ids) == len(set(ids)) == 60


@pytest.mark.parametrize(
    ("address", "state", "reason", "error", "attempts"),
    [
        ("refuses@example.com", "given_up", "refused", "550 5.1.1 <r***@example.com>: no such mailbox", 1),
        ("busy@example.com", "given_up", "not-now", "451 4.7.1 come again later", 3),
        ("li@@example", "given_up", "bad-address", "", 1),
        ("li@example.com>\r\nRCPT TO:<all@example.com", "given_up", "bad-address", "", 1),
        ("greylists@example.com", "sent", "", "", 2),
        ("drops-early@example.com", "sent", "", "", 2),
    ],
)
async def test_what_fails_says_why_and_holds_nobody_up(
    world: World, address: str, state: str, reason: str, error: str, attempts: int
) -> None:
    await world.site.say(world.site.saying("a"))
    await world.address(address)
    await world.until(world.ended)

    notice = await world.site.only()
    assert (notice.state, notice.reason, notice.error, notice.attempts) == (state, reason, error, attempts)
    assert len(world.peer.taken) == (1 if state == "sent" else 0)


async def test_a_lost_answer_repeats_the_same_message(world: World) -> None:
    await world.address("drops@example.com")
    await world.site.say()
    await world.until(world.ended)

    first, second = (mail.message["Message-ID"] for mail in world.peer.taken)
    assert first == second
    assert (await world.site.only()).state == "sent"


async def test_a_worker_that_dies_after_the_answer_leaves_it_to_another_who_repeats_the_message(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Died(Exception):
        pass

    async def dies(*_args: Any) -> None:
        raise Died

    await world.site.say()
    with monkeypatch.context() as patch:
        patch.setattr(outbox_repository, "end", dies)
        with pytest.raises(ExceptionGroup):
            await world.until(world.ended)
    assert (await world.site.only()).state == "sending"
    await world.sql("UPDATE notice SET next_try_at = now()")
    await world.until(world.ended)

    first, second = (mail.message["Message-ID"] for mail in world.peer.taken)
    assert first == second
    assert ((await world.site.only()).state, (await world.site.only()).attempts) == ("sent", 2)


async def test_a_server_that_is_away_costs_no_tries(world: World) -> None:
    await world.peer.stop()
    await world.site.say()

    async def told() -> bool:
        return (await world.site.only()).reason == "unreachable"

    await world.until(told)
    waiting = await world.site.only()
    assert (waiting.state, waiting.attempts) == ("failed", 0)
    await world.peer.start()
    await world.until(world.ended)
    assert ((await world.site.only()).state, (await world.site.only()).reason) == ("sent", "")


async def test_gives_up_what_waited_for_days(world: World) -> None:
    await world.peer.stop()
    await world.site.say()
    await world.sql("UPDATE notice SET queued_at = now() - interval '6 days'")
    await world.until(world.ended, rules=replace(_RULES, give_up_after=timedelta(days=5)))
    assert ((await world.site.only()).state, (await world.site.only()).reason) == ("given_up", "too-old")


async def test_without_a_server_every_notice_says_so(world: World) -> None:
    await world.site.say()
    await world.until(world.ended, on=False)
    assert ((await world.site.only()).state, (await world.site.only()).reason) == ("suppressed", "mail-off")


async def test_asks_again_what_the_person_wants_when_it_is_sent(world: World) -> None:
    await world.site.say(world.site.saying("low"), world.site.saying("warning", kind=SUPPLY_WARNING))
    async with world.site.db.transaction(SYSTEM) as conn:
        await service.set_preference(conn, Preference(world.site.project_id, world.site.li, None, (PREPAID_LOW,)))
    await world.until(world.ended)

    assert [(one.state, one.reason) for one in await world.site.notices()] == [("suppressed", "declined"), ("sent", "")]
    assert "List-Unsubscribe" not in world.peer.taken[0].message


async def test_what_was_given_up_is_sent_again_to_the_address_of_today(world: World) -> None:
    await world.address("refuses@example.com")
    await world.site.say()
    await world.until(world.ended)
    await world.address("li@example.com")
    async with world.site.db.transaction(SYSTEM) as conn:
        again = await service.send_again(conn, (await world.site.only()).id)
        assert (again.state, again.reason, again.attempts, again.ended_at) == ("queued", "", 0, None)
    await world.until(world.ended)

    assert (await world.site.only()).state == "sent"
    with pytest.raises(Conflict, match="it was sent"):
        async with world.site.db.transaction(SYSTEM) as conn:
            await service.send_again(conn, again.id)


async def test_carries_what_its_kind_encloses(world: World) -> None:
    async def enclose(db: Database, asker: Asker, notice: Notice, public_url: str | None) -> Enclosure:
        assert (notice.kind, asker.kind, public_url) == (PREPAID_LOW, "system", "https://garden.example.com")
        return Enclosure(
            '<p>看 <img src="cid:code"></p>',
            (Picture("code", b"png"),),
            (Attachment("账单.pdf", "application/pdf", b"%PDF"),),
        )

    async with world.site.db.transaction(SYSTEM) as conn:
        await service.set_settings(
            conn, Settings(world.site.project_id, sender_name='花园 "A"', reply_to="a@garden.cn")
        )
    await world.site.say()
    await world.until(world.ended, enclosers={PREPAID_LOW: enclose})

    message = world.peer.taken[0].message
    html, text = message.get_body(("html",)), message.get_body(("plain",))
    assert html is not None
    assert text is not None
    assert html.get_content() == '<p>看 <img src="cid:code"></p>\n'
    assert "<b>2 < 3</b>" in text.get_content()
    (pdf,) = message.iter_attachments()
    assert (pdf.get_filename(), pdf.get_content()) == ("账单.pdf", b"%PDF")
    assert [part["Content-ID"] for part in message.walk() if part["Content-ID"]] == ["<code>"]
    assert (message["From"].addresses[0].display_name, message["Reply-To"]) == ('花园 "A"', "a@garden.cn")


async def test_what_cannot_be_written_is_given_up_and_the_others_go_on(world: World) -> None:
    async def breaks(db: Database, asker: Asker, notice: Notice, public_url: str | None) -> Enclosure:
        if notice.dedupe_key == "crash":
            raise ZeroDivisionError("half a bill")
        raise NotFound("no-such-bill", "there is no bill 7")

    await world.site.say(
        world.site.saying("crash"), world.site.saying("gone"), world.site.saying("fine", kind=SUPPLY_WARNING)
    )
    await world.until(world.ended, enclosers={PREPAID_LOW: breaks})

    assert {one.dedupe_key: (one.state, one.reason, one.error) for one in await world.site.notices()} == {
        "crash": ("given_up", "not-written", "ZeroDivisionError: half a bill"),
        "gone": ("given_up", "not-written", "no-such-bill: there is no bill 7"),
        "fine": ("sent", "", ""),
    }


async def test_a_message_that_cannot_be_put_into_bytes_is_given_up_and_the_others_go_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(due: Due, *of: Any) -> EmailMessage:
        message = letter(due, *of)
        if due.notice.dedupe_key == "half":
            message = EmailMessage()
            message.set_payload("\u4f60")
        return message

    monkeypatch.setattr(sending, "letter", half)
    await world.site.say(world.site.saying("half"), world.site.saying("fine", kind=SUPPLY_WARNING))
    await world.until(world.ended)

    found = {one.dedupe_key: (one.state, one.reason) for one in await world.site.notices()}
    assert found == {"half": ("given_up", "not-written"), "fine": ("sent", "")}
