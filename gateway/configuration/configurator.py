"""Which site is in force: taken over from the cloud or the file, proven, confirmed or taken back."""

import asyncio
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import msgspec
import structlog

from gateway.configuration.probation import Probation, proofs_of
from gateway.configuration.site import Running, fixed_keys, told, unpacked
from gateway.configuration.store import ConfigurationStore, Kept
from gateway.contract import codec, limits
from gateway.contract.configuration import (
    Configuration,
    ConfigurationHead,
    ConfigurationReport,
    ConfigurationState,
)
from gateway.contract.errors import ContractError
from gateway.contract.signing import SignedText
from gateway.contract.topics import Down, Up
from gateway.errors import ConfigError, GatewayError
from gateway.outbox import Outbox
from gateway.plant import Plant, PlantStopping
from gateway.settings import SiteSettings
from gateway.templates.library import Library
from gateway.uplink.rate import PerMinute
from gateway.uplink.signatures import public_keys, signature_flaw

_UNPROVEN_REPORTS_PER_MINUTE: Final = 5
_FORBIDDEN: Final = "the site file forbids configuration from afar (remote_configuration: false)"
_STARTS_ALLOWED: Final = 1
"""A process that dies on probation is given one more start with the same configuration."""

_log = structlog.get_logger(__name__)


class CannotChange(GatewayError):
    """A site file that differs from the running one in what only a restart can change."""


@dataclass(frozen=True, slots=True)
class Resumed:
    """What a starting gateway runs."""

    kept: Kept
    running: Running


def resume(store: ConfigurationStore, local: Running, now: int) -> Resumed:
    """Decides with what to start: the cloud's configuration, the one before it, or the site file alone.

    A start on probation is counted before anything is built.
    """
    kept = store.load()
    if kept.on_probation:
        kept = msgspec.structs.replace(kept, state=ConfigurationState.APPLIED, starts=kept.starts + 1)
        if kept.starts > _STARTS_ALLOWED:
            kept = taken_back(kept, "the gateway stopped again and again with it", now)
        store.try_save(kept)
    if kept.running is not None and not local.site.remote_configuration:
        kept = abandoned(kept, _FORBIDDEN, now)
        store.try_save(kept)
    while kept.running is not None:
        try:
            return Resumed(kept, unpacked(kept.running, store.files_of(kept.running.number), local.site, local.library))
        except ConfigError as error:
            why = told(error, store.files_of(kept.running.number))
            _log.error("configuration does not fit any more", number=kept.running.number, reason=why)
            kept = taken_back(kept, f"it does not fit the gateway any more: {why}", now)
            store.try_save(kept)
    return Resumed(kept, local)


def content_of(configuration: Configuration) -> str:
    """What tells a repetition from another configuration with its number. Pure.

    Not whichever key signed it, nor fields that a newer cloud or a newer gateway says besides.
    """
    content = (configuration.number, configuration.site, configuration.templates, configuration.confirm_s)
    return hashlib.sha256(msgspec.json.encode(content, order="deterministic")).hexdigest()


def taken_back(kept: Kept, why: str, now: int) -> Kept:
    """The one before is in force again. Pure."""
    detail = why[: limits.MAX_DETAIL_CHARS]
    return msgspec.structs.replace(
        kept,
        state=ConfigurationState.ROLLED_BACK,
        detail=detail,
        at=now,
        running=kept.previous,
        previous=None,
        starts=0,
        proofs={},
    )


def abandoned(kept: Kept, why: str, now: int) -> Kept:
    """The site file alone is in force again. Pure."""
    return msgspec.structs.replace(taken_back(kept, why, now), running=None)


class Configurator:
    """Takes configurations of the cloud and changes of the site file, one after the other."""

    def __init__(
        self,
        local: Running,
        resumed: Resumed,
        store: ConfigurationStore,
        plant: Plant,
        outbox: Outbox,
        clock: Callable[[], int],
    ) -> None:
        self.refused = 0
        """Messages that were not provably the cloud's, or broken, since the gateway started."""
        self._local, self._kept = local, resumed.kept
        self._store, self._plant, self._outbox, self._clock = store, plant, outbox, clock
        self._keys = public_keys(local.site.cloud_keys)
        self._unproven = PerMinute(_UNPROVEN_REPORTS_PER_MINUTE)
        self._changing = asyncio.Lock()
        self._changed = asyncio.Event()
        self._stopping = asyncio.Event()
        self._seq = 0

    @property
    def state(self) -> tuple[int, ConfigurationState]:
        """The highest number that was proven, and what became of it."""
        return self._kept.number, self._kept.state

    def stop(self) -> None:
        """Ends `run`; a probation goes on at the next start."""
        self._stopping.set()
        self._changed.set()

    async def run(self) -> None:
        """Watches over probations until `stop`. Raises GatewayError when not even the way back works."""
        if self._kept.number:
            self._seq = await self._report(self._kept.number, self._kept.state, self._kept.detail)
        while not self._stopping.is_set():
            self._changed.clear()
            if self._kept.on_probation:
                await self._watch(self._kept)
            else:
                await self._changed.wait()
        if self._kept.on_probation and self._kept.starts:
            await self._save(msgspec.structs.replace(self._kept, starts=self._kept.starts - 1))

    async def handle(self, payload: bytes) -> None:
        """One `down/config` message, from its bytes to its configuration in force or the report why not."""
        try:
            opened = codec.open_signed(Down.CONFIG, payload)
            head = codec.read_configuration_head(opened)
        except ContractError as error:
            self.refused += 1
            _log.warning("malformed configuration", reason=error.reason, detail=error.detail)
            return
        async with self._changing:
            flaw = self._unproven_flaw(head, opened)
            if flaw is not None:
                await self._refuse_unproven(head.number, flaw)
                return
            try:
                await self._proven(codec.read_configuration(opened))
            except ContractError as error:
                self.refused += 1
                await self._not_understood(head, error)

    async def _proven(self, configuration: Configuration) -> None:
        if configuration.number == self._kept.number and content_of(configuration) == self._kept.content:
            # The cloud has not heard of it yet.
            await self._report(configuration.number, self._kept.state, self._kept.detail)
        elif configuration.number <= self._kept.number:
            await self._report_old(configuration.number)
        else:
            await self._take(configuration)

    async def _not_understood(self, head: ConfigurationHead, error: ContractError) -> None:
        """One of our cloud in words that this software does not know: refused, also by the software that comes next."""
        if head.number <= self._kept.number:
            await self._report_old(head.number)
            return
        await self._refuse(head.number, "", f"not understood: {error}")

    async def _refuse(self, number: int, content: str, detail: str) -> None:
        """One of our cloud that will not run. One on probation goes as it does when the next one runs: who watched
        over it would watch no more.
        """
        if self._kept.on_probation:
            await self._settle(taken_back(self._kept, f"replaced by number {number}", self._clock()))
            await self._go_back()
        await self._settle(self._numbered(number, content, ConfigurationState.REFUSED, detail))

    async def _report_old(self, number: int) -> None:
        await self._report(number, ConfigurationState.REFUSED, f"its number is not above {self._kept.number}")

    async def reload(self, site: SiteSettings, library: Library) -> None:
        """Takes over a site file that was read again, below what the cloud configured.

        Raises CannotChange, ConfigError and PlantError; what ran goes on in each case.
        """
        async with self._changing:
            fixed = fixed_keys(self._local.site, site)
            if fixed:
                raise CannotChange(f"{', '.join(fixed)} can only change with a restart of the gateway")
            local = Running(site, library)
            wanted = await asyncio.to_thread(self._laid_over, local, self._kept.running)
            changes = await self._plant.apply(wanted.site, wanted.library)
            self._local = local
            self._keys = public_keys(site.cloud_keys)
            if self._kept.running is not None and not site.remote_configuration:
                await self._settle(abandoned(self._kept, _FORBIDDEN, self._clock()))
                self._changed.set()
            _log.info("site file taken over", kept=len(changes.kept), changed=[*changes.replaced, *changes.started])

    def _laid_over(self, local: Running, configuration: Configuration | None) -> Running:
        """The site file with a configuration of the cloud over it. Blocks; raises ConfigError, OSError."""
        if configuration is None or not local.site.remote_configuration:
            return local
        return unpacked(configuration, self._store.files_of(configuration.number), local.site, local.library)

    async def _take(self, new: Configuration) -> None:
        wanted = await self._checked(new)
        if isinstance(wanted, str):
            await self._refuse(new.number, content_of(new), wanted)
            return
        if self._kept.on_probation:
            await self._settle(taken_back(self._kept, f"replaced by number {new.number}", self._clock()))
        before = self._kept
        received = self._numbered(new.number, content_of(new), ConfigurationState.RECEIVED, "")
        received = msgspec.structs.replace(received, running=new, previous=before.running)
        if not await self._save(received):
            # What could not come back after a power cut must not begin.
            await self._report(new.number, ConfigurationState.REFUSED, "the disk does not take it")
            await self._go_back()
            return
        await self._tell()
        alive = self._plant.alive()
        try:
            changes = await self._plant.apply(wanted.site, wanted.library)
        except PlantStopping:
            return
        except GatewayError as error:
            await self._settle(taken_back(self._kept, str(error), self._clock()))
            await self._go_back()
            return
        proofs = proofs_of(alive, changes, self._plant.devices())
        _log.info("configuration applied", number=new.number, changed=[*changes.replaced, *changes.started])
        applied = msgspec.structs.replace(
            self._kept, state=ConfigurationState.APPLIED, at=self._clock(), proofs=dict(proofs)
        )
        self._seq = await self._settle(applied)
        self._changed.set()

    async def _checked(self, new: Configuration) -> Running | str:
        """The whole site, or why it is none."""
        if not self._local.site.remote_configuration:
            return _FORBIDDEN
        try:
            return await asyncio.to_thread(self._laid_over, self._local, new)
        except ConfigError as error:
            return told(error, self._store.files_of(new.number))
        except OSError as error:
            return f"it cannot be kept: {error}"

    def _numbered(self, number: int, content: str, state: ConfigurationState, detail: str) -> Kept:
        return msgspec.structs.replace(
            self._kept,
            number=number,
            state=state,
            detail=detail[: limits.MAX_DETAIL_CHARS],
            at=self._clock(),
            content=content,
            starts=0,
            proofs={},
        )

    async def _watch(self, kept: Kept) -> None:
        """One probation: as long as it lasts, until it is stopped, or until something else changes."""
        assert kept.running is not None
        probation = Probation(self._plant, self._outbox, self._seq, kept.proofs)
        gathering = asyncio.create_task(probation.run())
        try:
            async with asyncio.timeout(kept.running.confirm_s):
                while self._kept is kept and not self._stopping.is_set():
                    await self._changed.wait()
                    self._changed.clear()
        except TimeoutError:
            async with self._changing:
                if self._kept is kept:
                    await self._judge(kept, probation.lacking(kept.running.confirm_s))
        finally:
            gathering.cancel()
            await asyncio.wait([gathering])
        if not gathering.cancelled() and (error := gathering.exception()) is not None:
            raise error

    async def _judge(self, kept: Kept, lacking: str | None) -> None:
        if lacking is None:
            await self._settle(
                msgspec.structs.replace(
                    kept, state=ConfigurationState.CONFIRMED, detail="", at=self._clock(), starts=0, proofs={}
                )
            )
            return
        await self._settle(taken_back(kept, lacking, self._clock()))
        await self._go_back()

    async def _go_back(self) -> None:
        """Brings into force what is written down to be: what differs from what runs is replaced."""
        back = await asyncio.to_thread(self._laid_over, self._local, self._kept.running)
        await self._plant.apply(back.site, back.library)

    async def _settle(self, kept: Kept) -> int:
        """Writes down where things stand, if the disk lets it, then reports it. Gives the report's sequence number."""
        await self._save(kept)
        self._kept = kept
        return await self._tell()

    async def _tell(self) -> int:
        kept = self._kept
        log = _log.warning if kept.detail else _log.info
        log("configuration", number=kept.number, state=kept.state, detail=kept.detail)
        return await self._report(kept.number, kept.state, kept.detail)

    async def _save(self, kept: Kept) -> bool:
        if not await asyncio.to_thread(self._store.try_save, kept):
            return False
        self._kept = kept
        return True

    def _unproven_flaw(self, head: ConfigurationHead, opened: SignedText) -> str | None:
        """Why this is not an order of our cloud to us, or None when it is."""
        flaw = signature_flaw(self._keys, head.key_id, head.signature, opened)
        if flaw is not None:
            return flaw
        site = self._local.site
        if (head.project, head.gateway) != (site.project, site.gateway):
            return f"address: meant for {head.project}/{head.gateway}"
        return None

    async def _refuse_unproven(self, number: int, flaw: str) -> None:
        self.refused += 1
        _log.warning("configuration refused", number=number, detail=flaw)
        if self._unproven.takes(self._clock()):
            await self._report(number, ConfigurationState.REFUSED, flaw, proven=False)

    async def _report(self, number: int, state: ConfigurationState, detail: str, proven: bool = True) -> int:
        report = ConfigurationReport(
            number, state, self._clock(), detail[: limits.MAX_DETAIL_CHARS], proven, self._kept.number
        )
        return await self._outbox.put(Up.CONFIGURATIONS, codec.encode_body([report]))
