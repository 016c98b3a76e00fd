"""Rules of notices: what is told to whom in which language, once. Callers own the transaction."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from cloud.estate import service as estate
from cloud.estate.records import Account
from cloud.kit import i18n
from cloud.kit.db import Conn
from cloud.kit.errors import Conflict, InvalidInput, NotFound
from cloud.kit.paging import Page, PageRequest
from cloud.notices import repository
from cloud.notices.addresses import checked
from cloud.notices.letters import one_line
from cloud.notices.records import (
    BILL,
    ENDED,
    KINDS,
    OPTIONAL_KINDS,
    Notice,
    NoticeFilter,
    Preference,
    Saying,
    Settings,
)

MOST_AT_ONCE: Final = 1000
"""Sayings in one call, and notices that one request sends again."""


async def say(conn: Conn, project_id: int, sayings: Sequence[Saying]) -> dict[str, int]:
    """Tells people something, in the transaction in which it happened: what is rolled back is not told.

    Returns the ids of the new notices by key; what was said before under its key is not among them. A notice that
    cannot be sent (no address, declined, project without e-mail) exists all the same, suppressed with its reason.
    For staff and system askers; people must be of the project. Raises NotFound (project), ValueError for an unknown
    kind or too many at once.
    """
    unknown = {one.kind for one in sayings} - KINDS.keys()
    if unknown or len(sayings) > MOST_AT_ONCE:
        raise ValueError(f"unknown kinds {sorted(unknown)}" if unknown else f"more than {MOST_AT_ONCE} at once")
    settings = await get_settings(conn, project_id)
    known = await repository.said(conn, project_id, [one.key for one in sayings])
    fresh = [one for one in sayings if one.key not in known]
    if not fresh:
        return {}
    people = {one.person_id for one in fresh}
    addresses = await estate.emails_of(conn, people)
    wanted = await repository.preferences(conn, list(people))
    rows = [
        _row(
            one, settings, wanted.get(one.person_id, Preference(project_id, one.person_id)), one.person_id in addresses
        )
        for one in fresh
    ]
    return await repository.insert(conn, project_id, rows)


def _row(one: Saying, settings: Settings, wanted: Preference, reachable: bool) -> Mapping[str, object]:
    language = wanted.language or settings.language
    with speaking(language):
        text = one.write()
    reason = why_not(one.kind, settings, wanted, reachable)
    about, about_id = one.about or ("", None)
    return {
        "person_id": one.person_id,
        "account_id": one.account_id,
        "kind": one.kind,
        "dedupe_key": one.key,
        "language": language,
        "subject": one_line(text.subject),
        "paragraphs": list(text.paragraphs),
        "link": text.link,
        "about": about,
        "about_id": about_id,
        "batch": one.batch,
        "state": "suppressed" if reason else "queued",
        "reason": reason,
    }


def why_not(kind: str, settings: Settings, wanted: Preference, reachable: bool) -> str:
    """Why a notice of this kind is not sent by e-mail, as a code; empty when it is."""
    if not settings.by_email:
        return "project-off"
    if kind in wanted.declined and not KINDS[kind]:
        return "declined"
    return "" if reachable else "no-address"


@contextmanager
def speaking(language: str) -> Iterator[i18n.Translator]:
    """Everything inside the block speaks `language`, outside of requests too."""
    with i18n.speaking(i18n.translator(i18n.load_catalogues(), language)) as translator:
        yield translator


def languages() -> list[str]:
    """The languages people can choose, by tag."""
    return sorted(i18n.load_catalogues())


async def list_notices(conn: Conn, page: PageRequest, wanted: NoticeFilter) -> Page[Notice]:
    """Notices, newest first."""
    return await repository.notices(conn, page, wanted)


async def get_notice(conn: Conn, notice_id: int) -> Notice:
    """Raises NotFound."""
    found = await repository.notice(conn, notice_id)
    if found is None:
        raise NotFound("no-notice", f"there is no notice {notice_id}", field="notice_id")
    return found


async def counts(conn: Conn, wanted: NoticeFilter) -> dict[str, int]:
    """How many notices there are, by state; states without any are missing."""
    return await repository.counts(conn, wanted)


async def last_about(conn: Conn, project_id: int, about: str, ids: Collection[int]) -> dict[int, Notice]:
    """The newest notice about each of `ids`, of those that were told of."""
    return await repository.last_about(conn, project_id, about, list(ids))


async def last_bill_to(conn: Conn, account: Account) -> Notice | None:
    """The newest bill that was sent to an account by e-mail, or could not be: how far it got."""
    wanted = NoticeFilter(account.project_id, account_id=account.id, kind=BILL)
    return next(iter((await repository.notices(conn, PageRequest(1), wanted)).items), None)


async def send_again(conn: Conn, notice_id: int) -> Notice:
    """Sends what failed, was given up or suppressed, now. Raises NotFound, Conflict when it waits or was sent.

    It goes to the address that the person has now; whether he wants it is asked again when it is sent.
    """
    found = await get_notice(conn, notice_id)
    if not await repository.again(conn, notice_id):
        detail = "it was sent" if found.state in ENDED else "it has not ended yet: it is tried again by itself"
        raise Conflict("still-waiting" if found.state not in ENDED else "already-sent", detail)
    return await get_notice(conn, notice_id)


async def send_all_again(conn: Conn, project_id: int, kind: str | None = None) -> int:
    """Sends what was given up, up to MOST_AT_ONCE; how many."""
    return await repository.again_all(conn, project_id, kind, MOST_AT_ONCE)


async def preferences(conn: Conn, project_id: int, person_ids: Collection[int]) -> dict[int, Preference]:
    """What each of these people of a project wants; those who never said get everything."""
    known = await repository.preferences(conn, list(person_ids))
    return {one: known.get(one, Preference(project_id, one)) for one in person_ids}


async def set_preference(conn: Conn, wanted: Preference) -> None:
    """Keeps what a person wants. Raises InvalidInput for a language or kind that cannot be chosen."""
    if wanted.language is not None and wanted.language not in languages():
        raise InvalidInput("unknown-language", f"expected one of {', '.join(languages())}", field="language")
    if not set(wanted.declined) <= set(OPTIONAL_KINDS):
        raise InvalidInput("unknown-notice", f"expected some of {', '.join(OPTIONAL_KINDS)}", field="declined")
    await repository.set_preference(conn, wanted)


async def get_settings(conn: Conn, project_id: int) -> Settings:
    """How a project writes. Raises NotFound."""
    found = await repository.settings(conn, project_id)
    if found is None:
        await estate.get_project(conn, project_id)
        return Settings(project_id)
    return found


async def set_settings(conn: Conn, wanted: Settings) -> Settings:
    """Keeps how a project writes. Raises NotFound, InvalidInput (language, reply address, sender name)."""
    await estate.get_project(conn, wanted.project_id)
    if wanted.language not in languages():
        raise InvalidInput("unknown-language", f"expected one of {', '.join(languages())}", field="language")
    if wanted.reply_to:
        checked(wanted.reply_to)
    if wanted.sender_name != one_line(wanted.sender_name):
        raise InvalidInput("bad-name", "expected a name in one line", field="sender_name")
    await repository.set_settings(conn, wanted)
    return wanted
