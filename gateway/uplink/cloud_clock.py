"""What time it is by the cloud, as far as it is proven: a clock here that is wrong must not keep a barrier closed.

Orders expire by the cloud's time. Each health report carries a challenge that nobody can foresee, and the cloud
answers it with its time, signed. When the challenge was made that time had not come yet, and when the answer is here
it has: whoever owns the broker can hold an answer back, and makes it less exact, never wrong.
"""

import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import structlog

from gateway.contract import codec
from gateway.contract.errors import ContractError
from gateway.contract.topics import Down
from gateway.elapsed import elapsed_ns
from gateway.uplink.signatures import public_keys, signature_flaw

_ASKED_KEPT: Final = 16
"""Challenges whose answers may still come; reports that waited longer for a connection tell nothing exact."""
_WIDE_MS: Final = 60_000
"""An answer that leaves so much open takes the place of none that leaves less."""
_DRIFT: Final = 5_000
"""No oscillator goes wrong by more than one in so many."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Proof:
    """The cloud's time `at` was at some moment between two of `elapsed_ns` (milliseconds)."""

    at: int
    asked: int
    answered: int
    key_id: str

    def bounds(self, passed: int) -> tuple[int, int]:
        """The earliest and the latest that the cloud's clock may show now."""
        drift = (passed - self.asked) // _DRIFT
        return self.at + passed - self.answered - drift, self.at + passed - self.asked + drift


class CloudClock:
    """The wall clock, held within what is proven of the cloud's. Times are Unix milliseconds.

    Without an answer (an older cloud, none reached since the start) it is the wall clock alone.
    """

    def __init__(
        self,
        project: str,
        gateway: str,
        cloud_keys: Mapping[str, str],
        wall_ms: Callable[[], int],
        wall_is_sure: Callable[[], bool],
        passed_ns: Callable[[], int] = elapsed_ns,
    ) -> None:
        """`wall_is_sure` tells whether the wall clock can be trusted when nothing is proven."""
        self._address = (project, gateway)
        self._keys = public_keys(cloud_keys)
        self._wall_ms, self._wall_is_sure, self._passed_ns = wall_ms, wall_is_sure, passed_ns
        self._asked: dict[str, int] = {}
        """By challenge, oldest first, when it was made by `elapsed_ns`, in milliseconds."""
        self._proof: _Proof | None = None

    def trust(self, cloud_keys: Mapping[str, str]) -> None:
        """Believes what is signed by these keys from now on, and no others, nor what they said before."""
        before, self._keys = self._keys, public_keys(cloud_keys)
        if self._proof is not None and self._keys.get(self._proof.key_id) != before.get(self._proof.key_id):
            self._proof = None

    def ask(self) -> str:
        """A new challenge."""
        challenge = secrets.token_hex(16)
        self._asked[challenge] = self._passed_ms()
        while len(self._asked) > _ASKED_KEPT:
            self._asked.pop(next(iter(self._asked)))
        return challenge

    def hear(self, payload: bytes) -> None:
        """One `down/time` message. What answers no challenge of ours, or is not provably the cloud's, is nothing."""
        try:
            opened = codec.open_signed(Down.TIME, payload)
            answer = codec.read_time(opened)
        except ContractError as error:
            _log.warning("malformed time", reason=error.reason, detail=error.detail)
            return
        asked = self._asked.get(answer.challenge)
        if asked is None or (answer.project, answer.gateway) != self._address:
            return
        if signature_flaw(self._keys, answer.key_id, answer.signature, opened) is not None:
            _log.warning("time refused: not signed by the cloud")
            return
        del self._asked[answer.challenge]
        self._take(_Proof(answer.at, asked, self._passed_ms(), answer.key_id))

    def now_ms(self) -> int:
        """The time by which orders expire and lanes stamp what happens."""
        wall = self._wall_ms()
        if self._proof is None:
            return wall
        earliest, latest = self._proof.bounds(self._passed_ms())
        return min(max(wall, earliest), latest)

    def is_sure(self) -> bool:
        """Whether an order can be told from one that was held back."""
        return self._proof is not None or self._wall_is_sure()

    @property
    def ahead_ms(self) -> int | None:
        """How far the wall clock is ahead of the cloud's for certain, negative when it is behind; None: not known."""
        return None if self._proof is None else self._wall_ms() - self.now_ms()

    def _take(self, proof: _Proof) -> None:
        """The newest, because the cloud's clock may have been mended, unless it leaves much more open."""
        width = proof.answered - proof.asked
        if width > _WIDE_MS and self._proof is not None:
            earliest, latest = self._proof.bounds(self._passed_ms())
            if width > latest - earliest:
                return
        self._proof = proof

    def _passed_ms(self) -> int:
        return self._passed_ns() // 1_000_000
