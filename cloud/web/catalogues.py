"""Keeps the translations in step with the messages: `python -m cloud.web.catalogues` after a text was changed."""

import sys
from pathlib import Path

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.frontend import parse_mapping_cfg
from babel.messages.pofile import read_po, write_po

CLOUD = Path(__file__).resolve().parents[1]
LOCALE = CLOUD / "web" / "locale"


def messages() -> Catalog:
    """Every message that templates and Python of the cloud use, with the places."""
    with (CLOUD / "web" / "babel.cfg").open(encoding="utf-8") as file:
        methods, options = parse_mapping_cfg(file)  # type: ignore[no-untyped-call]  # Babel's own
    found = Catalog(project="gatemeter", charset="utf-8")
    for name, _, message, comments, context in extract_from_dir(CLOUD, methods, options):
        # Without line numbers: a moved line is no change of a translation.
        found.add(message, None, [(name, 0)], auto_comments=comments, context=context)
    return found


def catalogue(path: Path) -> Catalog:
    """The translations in a file `<locale>/LC_MESSAGES/messages.po`."""
    with path.open("rb") as file:
        return read_po(file, locale=path.parts[-3])


def update() -> list[str]:
    """Brings every catalogue up to date; returns the messages of each that wait for a translation."""
    template, missing = messages(), []
    for path in sorted(LOCALE.glob("*/LC_MESSAGES/messages.po")):
        known = catalogue(path)
        known.update(template, no_fuzzy_matching=True)
        known.obsolete.clear()
        with path.open("wb") as file:
            write_po(file, known, width=110, sort_output=True, omit_header=False, include_lineno=False)
        missing += [f"{path.parts[-3]}: {message.id}" for message in known if message.id and not message.string]
    return missing


if __name__ == "__main__":
    waiting = update()
    sys.stdout.write("".join(f"{line}\n" for line in waiting))
    sys.exit(1 if waiting else 0)
