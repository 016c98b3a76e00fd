"""From the bytes of a `down/access` message to what is in force: proven first, then taken in order."""

import asyncio
import sqlite3
from collections.abc import Mapping

import structlog

from gateway.access.book import AccessBook
from gateway.contract import codec
from gateway.contract.access import AccessUpdate
from gateway.contract.errors import ContractError
from gateway.contract.topics import Down
from gateway.uplink.signatures import public_keys, signature_flaw

_log = structlog.get_logger(__name__)


class AccessIntake:
    """Takes what the cloud says of vehicles, and nobody else: whoever owns the broker must not hand out permits."""

    def __init__(self, project: str, gateway: str, book: AccessBook, cloud_keys: Mapping[str, str]) -> None:
        self.refused = 0
        """Messages that were broken, not provably the cloud's or in words not known here, since the gateway started."""
        self._address = (project, gateway)
        self._book = book
        self._keys = public_keys(cloud_keys)
        self._turn = asyncio.Lock()

    def trust(self, cloud_keys: Mapping[str, str]) -> None:
        """Takes what is signed by these keys from now on, and by no others."""
        self._keys = public_keys(cloud_keys)

    async def handle(self, payload: bytes) -> None:
        """One message. What does not fit to the number that is held is left: the health report asks for what does."""
        async with self._turn:  # deltas come in order
            update = await asyncio.to_thread(self._proven, payload)
            if update is None:
                self.refused += 1
                return
            try:
                taken = await self._book.take(update)
            except ContractError as error:
                self.refused += 1
                _log.warning("access message refused", number=update.number, detail=str(error))
                return
            except sqlite3.Error as error:
                _log.error("access file does not take a change", number=update.number, reason=str(error))
                return
            if taken:
                _log.info("access changed", number=update.number, base=update.base)
                if self._book.not_understood:
                    _log.warning("entries not understood: this software is older", count=self._book.not_understood)

    def _proven(self, payload: bytes) -> AccessUpdate | None:
        try:
            opened = codec.open_signed(Down.ACCESS, payload)
            update = codec.read_access(opened)
        except ContractError as error:
            _log.warning("malformed access message", reason=error.reason, detail=error.detail)
            return None
        flaw = signature_flaw(self._keys, update.key_id, update.signature, opened)
        if flaw is None and (update.project, update.gateway) != self._address:
            flaw = f"address: meant for {update.project}/{update.gateway}"
        if flaw is None and update.base >= update.number:
            flaw = f"numbers: from {update.base} to {update.number} is no step forward"
        if flaw is None and update.part > update.parts:
            flaw = f"parts: {update.part} of {update.parts}"
        if flaw is not None:
            _log.warning("access message refused", number=update.number, detail=flaw)
            return None
        return update
