"""With what a gateway starts: what was confirmed, what is on probation once more, or the way back."""

import errno
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gateway.configuration.configurator import Resumed, abandoned, resume, taken_back
from gateway.configuration.site import Running
from gateway.configuration.store import ConfigurationStore, Kept
from gateway.contract import WIRE_VERSION
from gateway.contract.configuration import Configuration, ConfigurationState
from gateway.settings import SiteSettings
from tests.templates import LIBRARY

NOW = 1_764_000_000_000
SITE = SiteSettings.model_validate(
    {"project": "demo", "gateway": "gw-1", "state_directory": "s", "broker": {"host": "b"}}
)


def periods(number: int, text: str | None = None) -> Configuration:
    site = text or f"periods: {{billing_s: {number}}}"
    return Configuration(WIRE_VERSION, number, "demo", "gw-1", NOW, site, {}, 60, "staff", "k1")


def kept(state: ConfigurationState, **fields: Any) -> Kept:
    whole: dict[str, Any] = {"number": 7, "state": state, "running": periods(7), "previous": periods(5)} | fields
    return Kept(**whole)


def started(tmp_path: Path, before: Kept, site: SiteSettings = SITE) -> Resumed:
    store = ConfigurationStore(tmp_path)
    store.save(before)
    resumed = resume(store, Running(site, LIBRARY), NOW)
    assert store.load() == resumed.kept, "written down before anything is built"
    return resumed


def test_without_any_the_site_file_runs(tmp_path: Path) -> None:
    resumed = resume(ConfigurationStore(tmp_path), Running(SITE, LIBRARY), NOW)
    assert (resumed.kept, resumed.running.site) == (Kept(), SITE)


def test_what_was_confirmed_runs_on(tmp_path: Path) -> None:
    before = kept(ConfigurationState.CONFIRMED)
    resumed = started(tmp_path, before)
    assert resumed.kept == before
    assert resumed.running.site.periods.billing_s == 7


@pytest.mark.parametrize("state", [ConfigurationState.RECEIVED, ConfigurationState.APPLIED])
def test_on_probation_one_more_start_is_allowed_and_no_second(tmp_path: Path, state: ConfigurationState) -> None:
    first = started(tmp_path, kept(state))
    assert (first.kept.state, first.kept.starts) == (ConfigurationState.APPLIED, 1)
    assert first.running.site.periods.billing_s == 7
    second = started(tmp_path, first.kept)
    assert second.kept.state is ConfigurationState.ROLLED_BACK
    assert (second.kept.running, second.kept.previous) == (periods(5), None)
    assert second.running.site.periods.billing_s == 5


def test_what_does_not_fit_gives_way_to_the_one_before_and_that_to_the_site_file(tmp_path: Path) -> None:
    wrong = "lines: [{name: a, protocol: bus, serial: {path: /dev/x}, devices: [{id: d, template: gone}]}]"
    resumed = started(tmp_path, kept(ConfigurationState.CONFIRMED, running=periods(7, wrong)))
    assert resumed.running.site.periods.billing_s == 5
    assert resumed.kept.state is ConfigurationState.ROLLED_BACK
    assert "site.yaml:1: lines[0].devices[0].template" in resumed.kept.detail
    both = kept(ConfigurationState.CONFIRMED, running=periods(7, wrong), previous=periods(5, wrong))
    resumed = started(tmp_path, both)
    assert (resumed.running.site, resumed.kept.running) == (SITE, None)


def test_a_full_disk_keeps_nobody_from_starting_with_what_he_ran_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = kept(ConfigurationState.CONFIRMED)
    started(tmp_path, before)

    def refuse(self: Path, *_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(self))

    monkeypatch.setattr(Path, "write_text", refuse)
    monkeypatch.setattr(Path, "write_bytes", refuse)
    for _ in range(2):
        resumed = resume(ConfigurationStore(tmp_path), Running(SITE, LIBRARY), NOW)
        assert resumed.running.site.periods.billing_s == 7


def test_a_site_file_that_forbids_it_runs_alone(tmp_path: Path) -> None:
    own = SITE.model_copy(update={"remote_configuration": False})
    resumed = started(tmp_path, kept(ConfigurationState.APPLIED), own)
    assert (resumed.running.site, resumed.kept.running, resumed.kept.previous) == (own, None, None)


def test_the_way_back_forgets_nothing_of_the_number() -> None:
    before = kept(ConfigurationState.APPLIED, content="c", starts=1, proofs={"line e": ("e-1",)})
    back = taken_back(before, "x" * 10_000, NOW)
    assert (back.number, back.content, back.at, len(back.detail)) == (7, "c", NOW, 4_000)
    assert (back.running, back.previous, back.starts, back.proofs) == (periods(5), None, 0, {})
    assert abandoned(before, "why", NOW) == msgspec.structs.replace(back, detail="why", running=None)
