"""The server: what it took, and how it treats which recipient."""

import asyncio
import ssl
import warnings
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final, Literal

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

Manner = Literal["takes", "refuses", "busy", "greylists", "drops", "drops-early", "refuses-content", "slow"]
"""How a recipient's mail is treated.

`refuses`: 550 for the recipient. `busy`: 451 for every try. `greylists`: 451 for the first. `drops`: takes the message
and closes the connection before the answer, the first time. `drops-early`: closes it at the recipient, the first time.
`refuses-content`: 554 after the message. `slow`: answers after `slow_s`.
"""
_MANNERS: Final[tuple[Manner, ...]] = (
    "refuses", "busy", "greylists", "drops", "drops-early", "refuses-content", "slow",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mail:
    """One message that was taken."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    encrypted: bool
    user: str | None

    @property
    def message(self) -> EmailMessage:
        """It as a reader sees it."""
        found = message_from_bytes(self.content, policy=policy.default)
        assert isinstance(found, EmailMessage)
        return found


@dataclass
class MailServer:
    """Takes mail on a port of this machine. A recipient is treated by the beginning of his address: busy-3@example.com.

    `credentials`: who has to sign in, (user, password). `keep`: a folder that every message is written to.
    """

    tls: ssl.SSLContext | None = None
    implicit_tls: bool = False
    credentials: tuple[str, str] | None = None
    slow_s: float = 1.0
    keep: Path | None = None
    host: str = "127.0.0.1"
    port: int = 0
    taken: list[Mail] = field(default_factory=list)
    tries: Counter[str] = field(default_factory=Counter)
    sessions: int = 0
    _server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens; `port` is known afterwards."""
        context = self.tls if self.implicit_tls else None
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(self._session, self.host, self.port, ssl=context)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Listens no more."""
        if self._server is not None:
            self._server.close()

    def manner(self, recipient: str) -> Manner:
        """How this recipient's mail is treated."""
        local = recipient.partition("@")[0]
        fitting = [one for one in _MANNERS if local == one or local.startswith(f"{one}-")]
        return max(fitting, key=len, default="takes")

    def _session(self) -> SMTP:
        self.sessions += 1
        must_sign_in = self.credentials is not None
        with warnings.catch_warnings(category=UserWarning, action="ignore"):  # passwords without TLS: only on request
            return self._made(must_sign_in)

    def _made(self, must_sign_in: bool) -> SMTP:
        return SMTP(
            _Handler(self),
            hostname="mail.example.com",
            tls_context=None if self.implicit_tls else self.tls,
            require_starttls=self.tls is not None and not self.implicit_tls,
            authenticator=self._knows if must_sign_in else None,
            auth_required=must_sign_in,
            auth_require_tls=self.tls is not None and not self.implicit_tls,
            enable_SMTPUTF8=False,
        )

    def _knows(self, server: Any, session: Any, envelope: Any, mechanism: str, given: Any) -> AuthResult:
        del server, session, envelope, mechanism
        name = (given.login.decode(), given.password.decode()) if isinstance(given, LoginPassword) else ("", "")
        return AuthResult(success=name == self.credentials, auth_data=name[0], handled=False)


class _Handler:
    def __init__(self, owner: MailServer) -> None:
        self._owner = owner

    async def handle_RCPT(  # noqa: N802 - the library's name
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del session, options
        owner, manner = self._owner, self._owner.manner(address)
        owner.tries[address] += 1
        if manner == "refuses":
            return f"550 5.1.1 <{address}>: no such mailbox"
        if manner == "busy" or (manner == "greylists" and owner.tries[address] == 1):
            return "451 4.7.1 come again later"
        if manner == "drops-early" and owner.tries[address] == 1:
            _abort(server)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802
        owner = self._owner
        recipients = tuple(str(one) for one in envelope.rcpt_tos)
        manners = {owner.manner(one) for one in recipients}
        if "refuses-content" in manners:
            return "554 5.7.1 this looks like spam"
        if "slow" in manners:
            await asyncio.sleep(owner.slow_s)
        content = envelope.original_content or b""
        mail = Mail(
            str(envelope.mail_from), recipients, content, session.ssl is not None or owner.implicit_tls,
            str(session.auth_data) if session.authenticated else None,
        )  # fmt: skip
        owner.taken.append(mail)
        if owner.keep is not None:
            path = owner.keep / f"{len(owner.taken):05}-{recipients[0].partition('@')[0]}.eml"
            await asyncio.to_thread(path.write_bytes, content)
        if "drops" in manners and owner.tries[recipients[0]] == 1:
            _abort(server)
        return "250 2.0.0 taken"


def _abort(server: SMTP) -> None:
    if isinstance(server.transport, asyncio.WriteTransport):
        server.transport.abort()


@asynccontextmanager
async def serving(server: MailServer) -> AsyncIterator[MailServer]:
    """The server while the block runs."""
    await server.start()
    try:
        yield server
    finally:
        await server.stop()
