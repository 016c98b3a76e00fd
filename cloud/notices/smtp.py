"""The client of the mail server: one session, one message after another, and what exactly went wrong."""

import ssl
from dataclasses import dataclass, field
from email import policy
from email.errors import MessageError
from email.message import EmailMessage
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

import aiosmtplib
from aiosmtplib.errors import SMTPException, SMTPResponseException

from cloud.kit.errors import InvalidInput
from cloud.notices.addresses import checked
from cloud.notices.letters import one_line
from cloud.settings import PREFIX, CloudSettings, SettingsError

_WIRE: Final = policy.SMTP.clone(cte_type="7bit", raise_on_defect=True)
_PERMANENT: Final = 500

Trouble = Literal["not-written", "refused", "not-now", "unknown", "unreachable"]


@dataclass(frozen=True, slots=True)
class MailServer:
    """Which server takes our mail, and as whom. The password is shown by no `repr`."""

    host: str
    port: int
    sender: str
    tls: Literal["starttls", "tls", "off"] = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca_file: Path | None = None
    timeout_s: float = 60


class NotSent(RuntimeError):
    """A message was not taken, or nobody knows whether it was.

    `trouble`: `not-written`: what it says is no message; `refused` for good; `not-now`: the server says to come again;
    `unknown`: the connection was lost after the message and before the answer; `unreachable`: the server cannot be
    used, and this message has no part in it.
    """

    def __init__(self, trouble: Trouble, detail: str) -> None:
        super().__init__(detail)
        self.trouble: Trouble = trouble


def mail_server(settings: CloudSettings) -> MailServer | None:
    """The server of this installation, None when mail is not set up. Raises SettingsError."""
    if settings.smtp_host is None:
        return None
    try:
        sender = checked(settings.mail_from or "")
    except InvalidInput as error:
        raise SettingsError(f"{PREFIX}MAIL_FROM: {error.detail}") from error
    return MailServer(
        settings.smtp_host, settings.smtp_port, sender, settings.smtp_tls, settings.smtp_username,
        settings.smtp_secret(), settings.smtp_ca_file, settings.smtp_timeout_s,
    )  # fmt: skip


class Session:
    """A session with the mail server, opened by the first message and again after it was lost."""

    def __init__(self, server: MailServer) -> None:
        self._server = server
        self._client: aiosmtplib.SMTP | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def open(self) -> None:
        """Connects, with TLS and as whom it is told to be. Raises NotSent (`unreachable`)."""
        if self._client is not None and self._client.is_connected:
            return
        server = self._server
        try:
            self._client = aiosmtplib.SMTP(
                hostname=server.host,
                port=server.port,
                timeout=server.timeout_s,
                use_tls=server.tls == "tls",
                start_tls=server.tls == "starttls",
                tls_context=None if server.tls == "off" else ssl.create_default_context(cafile=server.ca_file),
                username=server.username,
                password=server.password,
                local_hostname=server.sender.partition("@")[2],
            )
            await self._client.connect()
        except (SMTPException, OSError) as error:
            self._client = None
            raise NotSent("unreachable", _said(error)) from error

    async def send(self, message: EmailMessage, address: str) -> None:
        """Hands a message over for one address; returns when the server has taken it. Raises NotSent."""
        try:
            content = message.as_bytes(policy=_WIRE)
        except (MessageError, ValueError, LookupError, TypeError) as error:
            # Whatever the library cannot write: of this message, so that no other waits for it.
            raise NotSent("not-written", f"{type(error).__name__}: {error}") from error
        await self.open()
        client = self._client
        assert client is not None
        try:
            await client.mail(self._server.sender)
        except (SMTPException, OSError) as error:
            # Whom the server does not let write, it refuses every message of.
            raise await self._lost("unreachable", error) from error
        try:
            await client.rcpt(address)
        except (SMTPException, OSError) as error:
            raise await self._lost("not-now", error) from error
        try:
            await client.data(content)
        except (SMTPException, OSError) as error:
            raise await self._lost("unknown", error) from error

    async def close(self) -> None:
        """Ends the session; the server need not answer."""
        client, self._client = self._client, None
        if client is not None:
            try:
                await client.quit(timeout=5)
            except (SMTPException, OSError):
                client.close()

    async def _lost(self, without_answer: Trouble, error: Exception) -> NotSent:
        """What an error means; without an answer of the server the session is over."""
        if not isinstance(error, SMTPResponseException):
            if self._client is not None:
                self._client.close()
                self._client = None
            return NotSent(without_answer, _said(error))
        if without_answer == "unreachable":
            await self.close()
            return NotSent("unreachable", _said(error))
        trouble: Trouble = "refused" if error.code >= _PERMANENT else "not-now"
        await self._start_over()
        return NotSent(trouble, _said(error))

    async def _start_over(self) -> None:
        try:
            if self._client is not None:
                await self._client.rset()
        except (SMTPException, OSError):
            await self.close()


def _said(error: Exception) -> str:
    """The server's code and words, or what kind of error it was, in one line."""
    if isinstance(error, SMTPResponseException):
        text = f"{error.code} {error.message}"
    else:
        text = str(error) or type(error).__name__
    return one_line(text)  # whatever bytes it sends: this is stored, logged and shown
