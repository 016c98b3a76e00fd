"""Addresses of e-mail: whether one can be written to, and how it is shown to people. Pure."""

import re
from typing import Final

from cloud.kit.errors import InvalidInput

LONGEST: Final = 254
"""RFC 5321 4.5.3.1.3: 256 with the brackets around it."""
_LONGEST_LOCAL: Final = 64
# RFC 5322 dot-atom. Quoted local parts are legal and nobody has one; whoever writes one mistyped.
_LOCAL: Final = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_LABEL: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def checked(address: str) -> str:
    """The address as servers take it: its domain in ASCII (IDNA) and lower case.

    Raises InvalidInput. The part before the @ must be ASCII: most servers take no other.
    """
    local, at, domain = address.strip().rpartition("@")
    wire = _ascii(domain.rstrip("."))
    labels = wire.split(".")
    fits = (
        bool(at)
        and len(local) <= _LONGEST_LOCAL
        and _LOCAL.fullmatch(local) is not None
        and len(labels) > 1
        and all(_LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdecimal()
        and len(local) + 1 + len(wire) <= LONGEST
    )
    if not fits:
        raise InvalidInput("bad-address", "expected an e-mail address such as name@example.com", field="email")
    return f"{local}@{wire}"


def _ascii(domain: str) -> str:
    try:
        return domain.lower().encode("idna").decode("ascii")
    except UnicodeError:
        return ""


def without(address: str, text: str) -> str:
    """What a server said, with the address masked: it likes to repeat whom it does not know."""
    return re.sub(re.escape(address), lambda _found: masked(address), text, flags=re.IGNORECASE)


def masked(address: str) -> str:
    """The address as it is kept and shown: l***@example.com."""
    local, _, domain = address.rpartition("@")
    return f"{local[:1]}***@{domain}"
