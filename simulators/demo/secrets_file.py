"""The passwords of one demo: made once, kept in a file that only its owner reads."""

import json
import os
import secrets
from collections.abc import Iterable
from pathlib import Path


def load_secrets(path: Path, names: Iterable[str]) -> dict[str, str]:
    """A secret for each of `names`; those that the file does not have yet are made and kept in it."""
    known: dict[str, str] = json.loads(path.read_text("utf-8")) if path.exists() else {}
    missing = [name for name in names if name not in known]
    if missing:
        known |= {name: secrets.token_urlsafe(12) for name in missing}
        fresh = path.with_name(path.name + ".new")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            json.dump(known, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
    return known
