"""Signatures of a cloud, for tests of what gateways take."""

import base64

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.contract.signing import Sign


def signer(key: Ed25519PrivateKey) -> Sign:
    """Signs as the cloud does that has this key."""
    return lambda covered: base64.b64encode(key.sign(covered)).decode()


def public_key(key: Ed25519PrivateKey) -> dict[str, str]:
    """What a gateway is configured with, under the id `k1`."""
    return {"k1": base64.b64encode(key.public_key().public_bytes_raw()).decode()}
