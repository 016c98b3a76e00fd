"""What a scan found, and how it is told."""

from dataclasses import asdict, dataclass, field
from typing import Any

from gateway.onsite.guess import Guess


@dataclass(slots=True)
class Found:
    """Somebody who answers on a line."""

    protocol: str
    unit_id: int | None = None
    address: str | None = None
    kind: int | None = None
    """T of a CJ/T 188 meter."""
    known_as: str = ""
    """Its id in the site file."""
    guesses: list[Guess] = field(default_factory=list)

    @property
    def station(self) -> str:
        """How it is called, for people."""
        return f"unit {self.unit_id}" if self.unit_id is not None else f"address {self.address}"


@dataclass(slots=True)
class Scanned:
    """Everything that answered, as far as the scan came."""

    endpoint: str
    found: list[Found] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    complete: bool = False
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "ok": bool(self.found),
            "complete": self.complete,
            "endpoint": self.endpoint,
            "seconds": round(self.seconds, 1),
            "notes": self.notes,
            "devices": [asdict(one) for one in self.found],
        }


def site_snippet(scanned: Scanned) -> str:
    """A `devices:` list to paste into a site file; what nobody could guess is a comment."""
    lines = ["devices:"]
    for one in scanned.found:
        station = f"unit_id: {one.unit_id}" if one.unit_id is not None else f'address: "{one.address}"'
        name = one.known_as or f"m-{one.unit_id if one.unit_id is not None else one.address}"
        if not one.guesses:
            lines.append(f"  # {one.station} answers {one.protocol}, but no template fits")
            continue
        best = one.guesses[0]
        lines.append(f"  - {{id: {name}, template: {best.template}, {station}}}  # score {best.score}")
    return "\n".join(lines) + "\n"
