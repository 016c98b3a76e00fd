"""Which worker of `make test` runs what: systems that wait and tests that compute go on side by side.

Whole systems and browsers leave half of the processor idle, everything else uses all of it; one after the other, the
first waits for nothing but itself. So one worker computes from the start, and the others begin with whole systems.
"""

from typing import Final

import pytest
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling
from xdist.workermanage import WorkerController

_BROWSER: Final = "tests/browser"
_SYSTEMS: Final = ("tests/acceptance/test_", _BROWSER, "tests/chaos/")


class SideBySide(LoadFileScheduling):  # type: ignore[misc]  # it comes without types
    """Files whole, as with `--dist loadfile`; the browser's folder as well: what it shares is made on one worker."""

    def _split_scope(self, nodeid: str) -> str:
        return _BROWSER if nodeid.startswith(f"{_BROWSER}/") else str(super()._split_scope(nodeid))

    def _assign_work_unit(self, node: WorkerController) -> None:
        systems = node in self.nodes[1:]
        first = next((scope for scope in self.workqueue if scope.startswith(_SYSTEMS) is systems), None)
        if first is not None:
            self.workqueue.move_to_end(first, last=False)
        super()._assign_work_unit(node)


@pytest.hookimpl(optionalhook=True, tryfirst=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> SideBySide | None:
    """Ours instead of xdist's for `--dist loadfile`."""
    return SideBySide(config, log) if config.getvalue("dist") == "loadfile" else None
