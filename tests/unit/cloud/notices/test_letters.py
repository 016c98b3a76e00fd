"""Whatever people entered, an e-mail has the headers that we wrote and says what was to be said."""

from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes, policy
from email.message import EmailMessage
from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from cloud.notices.letters import letter, one_line
from cloud.notices.records import BILL, SUPPLY_CUT, Due, Enclosure, Notice, Picture, Preference, Settings

_NOW = datetime(2026, 1, 31, 16, 30, tzinfo=UTC)
_NOTICE = Notice(
    7, 1, 5, None, BILL, "bill:1", "email", "zh-CN", "2026年1月账单", ("应付 ¥1.00。", "<b>"), "/my/bills/1", "bill", 1,
    "", "sending", "", "", 1, _NOW, UUID(int=7), "", _NOW, _NOW, None,
)  # fmt: skip
_DUE = Due(_NOTICE, "li@example.com", "阳光花园", Settings(1, reply_to="office@example.com"), Preference(1, 5))
_HEADERS = {
    "From", "To", "Reply-To", "Subject", "Date", "Message-ID", "Auto-Submitted", "List-Unsubscribe", "Content-Type",
    "Content-Language", "MIME-Version",
}  # fmt: skip


def _read(
    due: Due = _DUE, enclosure: Enclosure | None = None, url: str | None = "https://a.example.com"
) -> EmailMessage:
    """The message as it arrives."""
    made = letter(due, "li@example.com", "bills@a.example.com", _NOW, url, enclosure or Enclosure())
    found = message_from_bytes(made.as_bytes(policy=policy.SMTP.clone(cte_type="7bit")), policy=policy.default)
    assert isinstance(found, EmailMessage)
    return found


def _text(message: EmailMessage, kind: str) -> str:
    body = message.get_body((kind,))
    assert body is not None
    return str(body.get_content())


def test_the_headers_of_a_letter() -> None:
    message = _read()
    assert set(message.keys()) == _HEADERS
    assert message["From"] == "阳光花园 <bills@a.example.com>"
    assert message["Date"].datetime == _NOW
    assert message["Message-ID"] == "<00000000-0000-0000-0000-000000000007@a.example.com>"
    assert message["List-Unsubscribe"] == (
        "<https://a.example.com/my/notices>, <mailto:office@example.com?subject=unsubscribe>"
    )
    assert message["Content-Language"] == "zh-CN"


def test_text_and_html_say_the_same_and_nothing_is_markup() -> None:
    message = _read()
    assert [part.get_content_type() for part in message.iter_parts()] == ["text/plain", "text/html"]
    for said in ("应付 ¥1.00。", "https://a.example.com/my/bills/1", "阳光花园"):
        assert said in _text(message, "plain")
        assert said in _text(message, "html")
    assert "<b>" in _text(message, "plain")
    assert "&lt;b&gt;" in _text(message, "html")


def test_what_must_be_told_cannot_be_declined() -> None:
    message = _read(replace(_DUE, notice=replace(_NOTICE, kind=SUPPLY_CUT)))
    assert "List-Unsubscribe" not in message
    assert "cannot be switched off" in _text(message, "plain")


def test_without_a_public_address_it_leads_nowhere() -> None:
    message = _read(url=None)
    assert "/my/" not in _text(message, "plain") + _text(message, "html")
    assert message["List-Unsubscribe"] == "<mailto:office@example.com?subject=unsubscribe>"


def test_a_picture_belongs_to_its_html() -> None:
    message = _read(enclosure=Enclosure('<img src="cid:code">', (Picture("code", b"png"),)))
    related = next(part for part in message.walk() if part.get_content_type() == "multipart/related")
    assert [part.get_content_type() for part in related.iter_parts()] == ["text/html", "image/png"]


_PIECES = [*'aé账"<>@,;:\\()[]=?_ \t\r\n\0\x1b\u2028\u202e\u0085', "Bcc: x@example.com"]
_NASTY = st.lists(st.sampled_from(_PIECES), max_size=60).map("".join)


@settings(max_examples=50)
@given(_NASTY, _NASTY, st.lists(_NASTY, min_size=1, max_size=3))
def test_nobody_adds_a_header(subject: str, name: str, paragraphs: list[str]) -> None:
    notice = replace(_NOTICE, subject=one_line(f"S {subject}"), paragraphs=tuple(paragraphs))
    message = _read(replace(_DUE, notice=notice, project_name=name))
    assert set(message.keys()) == _HEADERS
    assert message.defects == []
    assert [str(one.addr_spec) for one in message["From"].addresses] == ["bills@a.example.com"]
    assert message["Subject"].split() == notice.subject.split()
