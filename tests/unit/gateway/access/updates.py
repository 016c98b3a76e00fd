"""Messages of a cloud about vehicles, signed, for tests of the edge."""

import uuid

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract import WIRE_VERSION, signing
from gateway.contract.access import AccessEntry, AccessUpdate, PermitEntry, StayEntry, as_sent
from tests.signing import signer

NOW = 1_764_000_000_000
MINUTE = 60_000
DAY = 86_400_000
LOT = "lot-1"


def update(number: int, *entries: AccessEntry, base: int = 0, part: int = 1, parts: int = 1) -> AccessUpdate:
    """One message, not signed."""
    sent = tuple(map(as_sent, entries))
    return AccessUpdate(WIRE_VERSION, "demo", "gw-1", base, number, part, parts, NOW, sent, "test", "k1")


def signed(key: Ed25519PrivateKey, message: AccessUpdate) -> AccessUpdate:
    """The message with its signature."""
    return signing.signed(message, signer(key))


def permit(key: str, *plates: str, spaces: int = 0, lots: tuple[str, ...] = (), grace_ms: int = 0) -> PermitEntry:
    """Valid a day before and after NOW."""
    return PermitEntry(key, plates, NOW - DAY, NOW + DAY, grace_ms, spaces, lots)


def stay(plate: str, entered_at: int = NOW, number: int = 1, **fields: object) -> StayEntry:
    """A vehicle inside; equal numbers are equal stays."""
    key = str(uuid.UUID(int=number))
    return msgspec.structs.replace(StayEntry(key, plate, LOT, "small", entered_at), **fields)
