"""What a demo has done so far, so that an interrupted first start goes on and a second one repeats nothing."""

import json
import os
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Any

from simulators.demo.options import ZONE, DemoOptions
from simulators.demo.plan import months_before


@dataclass(slots=True)
class DemoState:
    """Kept in `state.json` of the folder. `facts` are the choices and results that later starts must repeat."""

    options: DemoOptions
    facts: dict[str, Any] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)

    @classmethod
    def open(cls, options: DemoOptions) -> "DemoState":
        """The state of the folder; a new one takes seed, size and months from `options`."""
        path = options.folder / "state.json"
        if path.exists():
            kept = json.loads(path.read_text("utf-8"))
            state = cls(options, kept["facts"], kept["done"])
            state.facts["starts"] += 1
            state._save()
            return state
        today = datetime.now(UTC).astimezone(ZONE).date()
        facts = {
            "seed": options.seed,
            "floors": options.floors,
            "starts": 1,
            "since": months_before(today, options.history_months).isoformat(),
        }
        state = cls(options, facts)
        state._save()
        return state

    def options_of(self, asked: DemoOptions) -> DemoOptions:
        """`asked` with what the first start has fixed."""
        return replace(asked, seed=self.facts["seed"], floors=self.facts["floors"])

    @property
    def traffic_seed(self) -> int:
        """Another one at every start: the vehicles of the last start may still be inside."""
        return int(self.facts["seed"]) * 10_000 + int(self.facts["starts"])

    @property
    def since(self) -> date:
        """First day of the history."""
        return date.fromisoformat(self.facts["since"])

    def finished(self, step: str) -> bool:
        """Whether the step was done by this start or an earlier one."""
        return step in self.done

    def finish(self, step: str, **facts: Any) -> None:
        """Notes durably that a step is done, with what it found out."""
        self.facts |= facts
        self.done.append(step)
        self._save()

    def _save(self) -> None:
        path = self.options.folder / "state.json"
        fresh = path.with_name(path.name + ".new")
        with fresh.open("w", encoding="utf-8") as stream:
            json.dump({"facts": self.facts, "done": self.done}, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        fresh.replace(path)
