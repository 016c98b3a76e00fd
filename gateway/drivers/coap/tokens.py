"""The tokens by which pushing meters show who they are; kept out of the site file."""

from collections.abc import Collection
from pathlib import Path
from typing import Final

from gateway.errors import GatewayError

_MIN_CHARS: Final = 8


class TokensUnusable(GatewayError):
    """The tokens file of a line cannot be read, or does not name each of its devices with a token."""


def load_tokens(path: Path | None, devices: Collection[str]) -> dict[str, str]:
    """Tokens by device; none without a file. Empty lines and lines that begin with `#` are passed over.

    Raises TokensUnusable unless each of `devices` has one of at least 8 characters and nobody else has.
    """
    if path is None:
        return {}
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as reason:
        raise TokensUnusable(f"{path}: {reason}") from reason
    tokens: dict[str, str] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        parts = line.split()
        if not parts or parts[0].startswith("#"):
            continue
        if len(parts) != 2 or parts[0] not in devices or parts[0] in tokens or len(parts[1]) < _MIN_CHARS:
            raise TokensUnusable(
                f"{path}:{number}: expected a device of the line, each once, and its token of {_MIN_CHARS} characters"
            )
        tokens[parts[0]] = parts[1]
    missing = sorted(set(devices) - tokens.keys())
    if missing:
        raise TokensUnusable(f"{path}: expected a token for {', '.join(missing)}")
    return tokens
