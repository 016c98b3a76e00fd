"""Whether the cloud signed something: Ed25519 by a key that the site file names."""

import base64
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gateway.contract.signing import SignedText

PublicKeys = Mapping[str, Ed25519PublicKey]


def public_keys(cloud_keys: Mapping[str, str]) -> PublicKeys:
    """Keys by id, from raw public keys in base64."""
    return {key_id: Ed25519PublicKey.from_public_bytes(base64.b64decode(key)) for key_id, key in cloud_keys.items()}


def signature_flaw(keys: PublicKeys, key_id: str, signature: str, opened: SignedText) -> str | None:
    """Why `signature` (base64) does not prove that the cloud signed the message as it came, or None when it does."""
    key = keys.get(key_id)
    if key is None:
        return f"signature: unknown key {key_id}"
    try:
        key.verify(base64.b64decode(signature, validate=True), opened.covered)
    except (InvalidSignature, ValueError):
        return "signature: does not match"
    return None
