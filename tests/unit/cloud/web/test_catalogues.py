"""Every text of the pages has its Chinese."""

import re

import pytest
from babel.messages.catalog import Catalog, Message

from cloud.web.catalogues import LOCALE, catalogue, messages

_CHINESE = LOCALE / "zh_CN" / "LC_MESSAGES" / "messages.po"


@pytest.fixture(scope="module")
def used() -> Catalog:
    """What code and pages say: all of them are parsed for it."""
    return messages()


def test_every_message_is_translated(used: Catalog) -> None:
    known = catalogue(_CHINESE)
    missing = [message.id for message in used if message.id and not _translated(known.get(message.id))]
    assert missing == [], "run python -m cloud.web.catalogues and translate"


def _translated(message: Message | None) -> bool:
    if message is None or not message.string:
        return False
    return isinstance(message.string, str) or all(message.string)


def test_translations_keep_their_placeholders() -> None:
    wrong = {message.id: errors for message in catalogue(_CHINESE) if (errors := list(message.check()))}
    assert wrong == {}


def test_every_translation_can_be_filled_in() -> None:
    """A lone percent sign is no error to gettext, and the end of the page that shows it."""
    for message in catalogue(_CHINESE):
        for text in [message.string] if isinstance(message.string, str) else message.string or ():
            if text and "%" in text:
                assert text % dict.fromkeys(re.findall(r"%\((\w+)\)", text), "x"), message.id


def test_catalogue_holds_nothing_that_is_not_used(used: Catalog) -> None:
    known = {message.id for message in used}
    assert [message.id for message in catalogue(_CHINESE) if message.id not in known] == []
