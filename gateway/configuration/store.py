"""What the gateway remembers of configurations from the cloud: one file, replaced as a whole, never half written."""

import os
import shutil
import time
from pathlib import Path
from typing import Final

import msgspec
import structlog

from gateway.contract.configuration import Configuration, ConfigurationState

_FILE: Final = "configuration.json"

_log = structlog.get_logger(__name__)


class Kept(msgspec.Struct, frozen=True):
    """Where things stand. `number` is the highest that was ever proven, and `state` what became of it."""

    number: int = 0
    state: ConfigurationState = ConfigurationState.QUEUED
    detail: str = ""
    at: int = 0
    """Unix milliseconds of the state."""
    content: str = ""
    """SHA-256 of the configuration with that number: the same again is a repetition, another one is none."""
    running: Configuration | None = None
    """In force, or on probation; None for the site file alone."""
    previous: Configuration | None = None
    """What comes back when `running` does not prove itself."""
    starts: int = 0
    """Starts of the process on probation that did not end cleanly."""
    proofs: dict[str, tuple[str, ...]] = {}
    """By changed part: the devices of which one must answer."""

    @property
    def on_probation(self) -> bool:
        """Whether `running` has yet to prove itself."""
        return self.state in (ConfigurationState.RECEIVED, ConfigurationState.APPLIED)


class ConfigurationStore:
    """Keeps one `Kept` in the state directory, and the files of each configuration in force beside it."""

    def __init__(self, state_directory: Path) -> None:
        self._directory = state_directory
        self._file = state_directory / _FILE

    def files_of(self, number: int) -> Path:
        """Where a configuration's site and templates are written for reading them."""
        return self._directory / "configuration" / str(number)

    def load(self) -> Kept:
        """What was saved last; nothing when nothing was, or when the file is damaged, which is set aside."""
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=Kept)
        except FileNotFoundError:
            return Kept()
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            aside = self._file.with_name(f"{_FILE}.damaged-{time.time_ns()}")
            self._file.rename(aside)
            _log.error("configuration file was damaged and set aside", set_aside=str(aside), reason=str(error))
            return Kept()

    def try_save(self, kept: Kept) -> bool:
        """Makes it durable if the disk lets it. Without, the next start is on probation again: nothing is lost."""
        try:
            self.save(kept)
        except OSError as error:
            _log.error("configuration state not kept", number=kept.number, state=kept.state, reason=str(error))
            return False
        return True

    def save(self, kept: Kept) -> None:
        """Makes it durable: when this returns, a power cut changes nothing. Raises OSError."""
        fresh = self._file.with_name(f"{_FILE}.new")
        with fresh.open("wb") as stream:
            stream.write(msgspec.json.encode(kept))
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(self._file)
        directory = os.open(self._directory, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)
        self._tidy(kept)

    def _tidy(self, kept: Kept) -> None:
        """Files of configurations that are neither in force nor to come back."""
        wanted = {str(one.number) for one in (kept.running, kept.previous) if one is not None}
        for directory in self.files_of(0).parent.glob("*"):
            if directory.name not in wanted and directory.name != str(kept.number):
                shutil.rmtree(directory, ignore_errors=True)
