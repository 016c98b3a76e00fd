"""Links that let a gateway hand in one picture: signed, good for a while and for this picture alone. Pure."""

import hmac
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlencode
from uuid import UUID

from cloud.kit.errors import Forbidden
from cloud.kit.security import Keys

PATH: Final = "/api/v1/passage-pictures"
MAX_BYTES: Final = 3 << 20
"""What a gateway keeps of one picture at most."""

# The same as gateways take: without TLS only on the machine itself.
_REACHED: Final = re.compile(r"https://.+|http://(127\.0\.0\.1|localhost)(:\d+)?")


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link allows: one picture of a passage of at most `most` bytes, for one request, until `expires` (s)."""

    project: int
    passage: UUID
    request: int
    expires: int
    most: int

    def text(self) -> bytes:
        """What is signed."""
        return f"picture:{self.project}:{self.passage}:{self.request}:{self.expires}:{self.most}".encode()


class Links:
    """Makes links and checks them. `public_url` is where gateways reach the cloud; without one there are none."""

    def __init__(self, keys: Keys, public_url: str | None) -> None:
        # A key of its own: what is signed here proves nothing anywhere else.
        self._key = hmac.digest(keys.blind_index, b"links of pictures", "sha256")
        self._public_url = public_url

    @property
    def usable(self) -> bool:
        """Whether gateways take such links: over TLS, or on the same machine."""
        return _REACHED.fullmatch(self._public_url or "") is not None

    def link(self, claim: Claim) -> str:
        """The address for a PUT."""
        query = {
            "project": claim.project,
            "passage": claim.passage,
            "request": claim.request,
            "expires": claim.expires,
            "most": claim.most,
            "signature": self._signature(claim),
        }
        return f"{self._public_url}{PATH}?{urlencode(query)}"

    def check(self, claim: Claim, signature: str, now: datetime) -> None:
        """Raises Forbidden when the signature is not of this claim or the time is over."""
        if not hmac.compare_digest(self._signature(claim).encode(), signature.encode()):
            raise Forbidden("bad-link", "this link was not made here")
        if now.astimezone(UTC).timestamp() >= claim.expires:
            raise Forbidden("link-over", "the time of this link is over")

    def _signature(self, claim: Claim) -> str:
        return hmac.digest(self._key, claim.text(), "sha256").hex()
