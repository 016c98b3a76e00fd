"""Messages of a cloud about vehicles, signed, for tests of the edge."""

import base64
import uuid

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract import WIRE_VERSION
from gateway.contract.access import AccessEntry, AccessUpdate, PermitEntry, StayEntry, signed_access

NOW = 1_764_000_000_000
MINUTE = 60_000
DAY = 86_400_000
LOT = "lot-1"


def update(number: int, *entries: AccessEntry, base: int = 0, part: int = 1, parts: int = 1) -> AccessUpdate:
    """One message, not signed."""
    return AccessUpdate(WIRE_VERSION, "demo", "gw-1", base, number, part, parts, NOW, entries, "test", "k1")


def signed(key: Ed25519PrivateKey, message: AccessUpdate) -> AccessUpdate:
    """The message with its signature."""
    return msgspec.structs.replace(message, signature=base64.b64encode(key.sign(signed_access(message))).decode())


def public_key(key: Ed25519PrivateKey) -> dict[str, str]:
    """What a gateway is configured with."""
    return {"k1": base64.b64encode(key.public_key().public_bytes_raw()).decode()}


def permit(key: str, *plates: str, spaces: int = 0, lots: tuple[str, ...] = (), grace_ms: int = 0) -> PermitEntry:
    """Valid a day before and after NOW."""
    return PermitEntry(key, plates, NOW - DAY, NOW + DAY, grace_ms, spaces, lots)


def stay(plate: str, entered_at: int = NOW, number: int = 1, **fields: object) -> StayEntry:
    """A vehicle inside; equal numbers are equal stays."""
    key = str(uuid.UUID(int=number))
    return msgspec.structs.replace(StayEntry(key, plate, LOT, "small", entered_at), **fields)
