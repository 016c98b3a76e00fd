"""What the user asked the demo for, and where its files are."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

PROJECT: Final = "demo"
GATEWAY: Final = "gw-1"
ZONE: Final = ZoneInfo("Asia/Shanghai")


class DemoError(RuntimeError):
    """The demo cannot start or go on; the message says what to do."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """Settings of one demo. `seed`, `history_months` and `floors` matter for the first start only."""

    folder: Path
    port: int = 8080
    seed: int = 1
    history_months: int = 13
    floors: int = 10
    live: bool = True

    @property
    def logs(self) -> Path:
        """One log per process."""
        return self.folder / "logs"

    @property
    def mail(self) -> Path:
        """E-mail that was sent: one file per message."""
        return self.folder / "mail"

    @property
    def keys_file(self) -> Path:
        """Keys of the cloud."""
        return self.folder / "keys.json"

    @property
    def site_file(self) -> Path:
        """What the gateway and the simulators are started with."""
        return self.folder / "site.yaml"

    @property
    def postgres(self) -> Path:
        """Folder of the embedded PostgreSQL."""
        return self.folder / "postgres"
