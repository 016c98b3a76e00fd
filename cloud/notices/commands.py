"""`gatemeter notices`: tries whether e-mail goes out, past the outbox."""

import asyncio
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from typing import Annotated, Final
from uuid import uuid4

import typer

from cloud.commands.console import fail
from cloud.kit.errors import InvalidInput
from cloud.notices.addresses import checked
from cloud.notices.smtp import MailServer, NotSent, Session, mail_server
from cloud.settings import SettingsError, load_settings

app = typer.Typer(help="E-mail to people.", no_args_is_help=True)

UNREACHABLE: Final = 1
NOT_SET_UP: Final = 3
REFUSED: Final = 4


@app.callback()
def notices() -> None:
    """E-mail to people."""


@app.command("test-mail")
def test_mail(
    to: Annotated[str, typer.Option("--to", help="Address that gets the message.", show_default=False)],
) -> None:
    """Sends one message as the worker would, and says what the mail server answered.

    Exit codes: 0 the server took it, 1 the server cannot be used (host, TLS, user, password), 2 wrong usage or
    settings, 3 mail is not set up, 4 the server did not take this message or this address.

    Example: gatemeter notices test-mail --to me@example.com
    """
    try:
        server, address = mail_server(load_settings()), checked(to)
    except (SettingsError, InvalidInput) as error:
        fail(error.detail if isinstance(error, InvalidInput) else str(error))
    if server is None:
        fail(
            "mail is not set up: GATEMETER_SMTP_HOST and GATEMETER_MAIL_FROM name the server and the sender", NOT_SET_UP
        )
    try:
        asyncio.run(_send(server, address))
    except NotSent as error:
        fail(f"{error.trouble}: {error}", UNREACHABLE if error.trouble == "unreachable" else REFUSED)
    typer.echo(f"{server.host}:{server.port} took the message for {address}")


async def _send(server: MailServer, address: str) -> None:
    message = EmailMessage()
    message["From"] = Address("gatemeter", addr_spec=server.sender)
    message["To"] = Address(addr_spec=address)
    message["Subject"] = "gatemeter: 邮件测试 / test of e-mail"
    message["Date"] = format_datetime(datetime.now(UTC))
    message["Message-ID"] = f"<{uuid4()}@{server.sender.partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"
    message.set_content("邮件可以发出。\nE-mail goes out.\n")
    async with Session(server) as session:
        await session.send(message, address)
