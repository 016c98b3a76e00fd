"""Signatures of deliveries (https://www.standardwebhooks.com, symmetric scheme v1), and when to try again. Pure."""

import base64
import hmac
import secrets
from typing import Final

from cloud.kit.backoff import BackOff

PREFIX: Final = "whsec_"
SECRET_BYTES: Final = 32

BACK_OFF: Final = BackOff(first_s=10, factor=3, longest_s=43_200, tries=14)
"""Fourteen tries, together with the delays between them almost three days."""


def new_secret() -> str:
    """A fresh secret, as its receiver configures it."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def signature(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of `id.timestamp.body` in base64."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def headers(message_id: str, timestamp_s: int, body: bytes, known: list[str]) -> dict[str, str]:
    """The headers that a receiver checks; one signature for each secret in force."""
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp_s),
        "webhook-signature": " ".join(signature(secret, message_id, timestamp_s, body) for secret in known),
    }


def delay_s(attempts: int, lot: int) -> int | None:
    """Seconds until the next try after so many; None: there is none. `lot`, 0 to 999, spreads it by a fifth."""
    return BACK_OFF.delay_s(attempts, lot)
