"""The client against a real SMTP server, with TLS and sign-in, and with everything that goes wrong."""

import asyncio
import ssl
from email.message import EmailMessage
from pathlib import Path

import pytest

from cloud.notices.smtp import MailServer, NotSent, Session
from simulators.mail.server import MailServer as Peer
from simulators.mail.server import serving
from tests.integration.certificates import Authority

_ME = "bills@garden.example.com"


def _message(text: str = "你好\n.\n.. dots") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = _ME, "li@example.com", "账单 2026"
    message.set_content(text)
    return message


def _to(peer: Peer, **more: object) -> MailServer:
    return MailServer(peer.host, peer.port, _ME, **{"tls": "off", "timeout_s": 60, **more})  # type: ignore[arg-type]


async def test_a_message_arrives_as_it_was_written() -> None:
    async with serving(Peer()) as peer, Session(_to(peer)) as session:
        await session.send(_message(), "li@example.com")
        await session.send(_message("second"), "wang@example.com")

    first, second = peer.taken
    assert (first.sender, first.recipients, second.recipients) == (_ME, ("li@example.com",), ("wang@example.com",))
    assert first.message.get_content().splitlines() == ["你好", ".", ".. dots"]
    assert first.message["Subject"] == "账单 2026"
    assert all(byte < 128 for byte in first.content)
    assert peer.sessions == 1


async def test_what_is_no_message_is_not_sent_and_says_why() -> None:
    broken = _message()
    broken.replace_header("Content-Transfer-Encoding", "8bit")
    broken.set_payload("half a \u4f60")
    async with serving(Peer()) as peer, Session(_to(peer)) as session:
        with pytest.raises(NotSent) as refused:
            await session.send(broken, "li@example.com")
        assert refused.value.trouble == "not-written"
        await session.send(_message(), "li@example.com")
    assert len(peer.taken) == 1


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def _context(authority: Authority, host: str = "localhost") -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(*authority.issue("mail", host))
    return context


@pytest.mark.parametrize("tls", ["starttls", "tls"])
async def test_signs_in_over_tls(authority: Authority, tls: str) -> None:
    peer = Peer(tls=_context(authority), implicit_tls=tls == "tls", credentials=("gm", "geheim"), host="localhost")
    more = {"tls": tls, "username": "gm", "ca_file": authority.ca}
    async with serving(peer):
        async with Session(_to(peer, password="geheim", **more)) as session:
            await session.send(_message(), "li@example.com")
        async with Session(_to(peer, password="wrong", **more)) as session:
            with pytest.raises(NotSent, match="535") as caught:
                await session.send(_message(), "li@example.com")

    assert [(mail.encrypted, mail.user) for mail in peer.taken] == [(True, "gm")]
    assert caught.value.trouble == "unreachable"
    assert "wrong" not in str(caught.value)


@pytest.mark.parametrize("case", ["unknown authority", "another host", "no TLS there"])
async def test_does_not_talk_to_a_server_that_it_cannot_trust(authority: Authority, case: str) -> None:
    context = (
        None if case == "no TLS there" else _context(authority, "other" if case == "another host" else "localhost")
    )
    peer = Peer(tls=context, host="localhost")
    ca_file = None if case == "unknown authority" else authority.ca
    async with serving(peer), Session(_to(peer, tls="starttls", ca_file=ca_file)) as session:
        with pytest.raises(NotSent) as caught:
            await session.send(_message(), "li@example.com")

    assert caught.value.trouble == "unreachable"
    assert peer.taken == []


@pytest.mark.parametrize(
    ("recipient", "trouble", "said"),
    [
        ("refuses@example.com", "refused", "550 5.1.1 <refuses@example.com>: no such mailbox"),
        ("busy@example.com", "not-now", "451 4.7.1 come again later"),
        ("refuses-content@example.com", "refused", "554 5.7.1 this looks like spam"),
        ("drops@example.com", "unknown", ""),
        ("drops-early@example.com", "not-now", ""),
        ("slow@example.com", "unknown", ""),
    ],
)
async def test_tells_what_went_wrong_and_goes_on(recipient: str, trouble: str, said: str) -> None:
    peer = Peer(slow_s=3.0)
    async with serving(peer), Session(_to(peer, timeout_s=1.5)) as session:
        with pytest.raises(NotSent) as caught:
            await session.send(_message(), recipient)
        await session.send(_message(), "li@example.com")

    assert caught.value.trouble == trouble
    assert said in str(caught.value)
    assert peer.taken[-1].recipients == ("li@example.com",)


async def test_whatever_bytes_a_server_answers_can_be_kept() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 mail\r\n")
        while line := await reader.readline():
            writer.write(b"550 \xff\xfe\0 \x1b[31mno\r\n" if line.startswith(b"RCPT") else b"250 OK\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with Session(MailServer("127.0.0.1", port, _ME, "off", timeout_s=60)) as session:
            with pytest.raises(NotSent, match=r"^550 \[31mno$") as caught:
                await session.send(_message(), "li@example.com")
    assert caught.value.trouble == "refused"
    str(caught.value).encode()


async def test_a_server_that_is_not_there_is_unreachable() -> None:
    peer = Peer()
    async with serving(peer):
        pass
    async with Session(_to(peer)) as session:
        with pytest.raises(NotSent) as caught:
            await session.send(_message(), "li@example.com")
    assert caught.value.trouble == "unreachable"
