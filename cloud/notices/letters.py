"""What a notice looks like as an e-mail: plain text, HTML and files, and headers that nobody can add to. Pure."""

import unicodedata
from datetime import datetime
from email import policy
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import format_datetime
from functools import cache
from typing import Final

from jinja2 import Template

from cloud.kit.i18n import gettext as _
from cloud.kit.templates import template_beside
from cloud.notices.records import KINDS, NOTHING, Due, Enclosure

_LONGEST_LINE: Final = 300

WISHES: Final = "/my/notices"
"""The page on which a person says what he wants; it asks who he is."""


def letter(
    due: Due, address: str, sender: str, now: datetime, public_url: str | None, enclosure: Enclosure = NOTHING
) -> EmailMessage:
    """The e-mail of a notice in the language in use. `address` and `sender` are checked addresses, `now` its date.

    Raises ValueError when a header would break: whatever is in the records, nobody writes headers of his own.
    """
    notice, settings = due.notice, due.settings
    message = EmailMessage(policy=policy.SMTP)
    message["From"] = Address(settings.sender_name or one_line(due.project_name), addr_spec=sender)
    message["To"] = Address(addr_spec=address)
    if settings.reply_to:
        message["Reply-To"] = Address(addr_spec=settings.reply_to)
    message["Subject"] = notice.subject
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{notice.message_id}@{sender.partition('@')[2]}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no machine answers
    footer = _footer(due, public_url)
    if not KINDS[notice.kind] and (wishes := _unsubscribe(settings.reply_to, public_url)):
        message["List-Unsubscribe"] = wishes
    link = f"{public_url}{notice.link}" if public_url and notice.link else ""
    told = [*notice.paragraphs, *([link] if link else []), "-- \n" + "\n".join(footer)]
    message.set_content("\n\n".join(told) + "\n")
    html = enclosure.html or _template().render(
        language=notice.language, subject=notice.subject, paragraphs=notice.paragraphs, link=link, footer=footer
    )
    message.add_alternative(html, subtype="html")
    if enclosure.pictures:
        body = message.get_body(("html",))
        assert body is not None
        for picture in enclosure.pictures:
            body.add_related(
                picture.png, "image", "png", cid=f"<{picture.name}>", disposition="inline",
                filename=f"{picture.name}.png",
            )  # fmt: skip
    for file in enclosure.attachments:
        kind, _slash, subtype = file.media_type.partition("/")
        message.add_attachment(file.content, maintype=kind, subtype=subtype, filename=file.name)
    message["Content-Language"] = notice.language  # last: whoever sets content drops such headers
    return message


def one_line(text: str) -> str:
    """A text without what would break a header or steer the text around it (categories Cc, Cf, Zl, Zp …), cut."""
    kept = (" " if unicodedata.category(char)[0] in "CZ" else char for char in text)
    return " ".join("".join(kept).split())[:_LONGEST_LINE]


def _footer(due: Due, public_url: str | None) -> list[str]:
    lines = [due.project_name]
    if KINDS[due.notice.kind]:
        lines.append(_("This has to be told to you; it cannot be switched off."))
    elif public_url is not None:
        lines.append(_("What you get by e-mail you choose here: %(page)s") % {"page": public_url + WISHES})
    return lines


def _unsubscribe(reply_to: str, public_url: str | None) -> str:
    """RFC 2369. One click without signing in (RFC 8058) would need a secret in the address."""
    ways = [f"<{public_url}{WISHES}>"] if public_url else []
    if reply_to:
        ways.append(f"<mailto:{reply_to}?subject=unsubscribe>")
    return ", ".join(ways)


@cache
def _template() -> Template:
    return template_beside(__file__, "letter.html")
