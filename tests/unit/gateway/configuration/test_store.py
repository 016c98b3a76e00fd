"""What is remembered of configurations: whole or not at all, and nothing is lost silently."""

from pathlib import Path

import pytest

from gateway.configuration.store import ConfigurationStore, Kept
from gateway.contract import WIRE_VERSION
from gateway.contract.configuration import Configuration, ConfigurationState


def configuration(number: int) -> Configuration:
    return Configuration(WIRE_VERSION, number, "demo", "gw-1", 1_764_000_000_000, "{}", {"t": "x"}, 60, "staff", "k1")


def test_it_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    store = ConfigurationStore(tmp_path)
    assert store.load() == Kept()
    kept = Kept(
        7,
        ConfigurationState.APPLIED,
        "why",
        5,
        "sig",
        configuration(7),
        configuration(5),
        1,
        {"line e": ("e-1", "e-2")},
    )
    store.save(kept)
    assert ConfigurationStore(tmp_path).load() == kept


@pytest.mark.parametrize("text", ["", "{", '{"number": "seven"}', "\x00" * 40])
def test_a_damaged_file_is_set_aside(tmp_path: Path, text: str) -> None:
    (tmp_path / "configuration.json").write_text(text)
    assert ConfigurationStore(tmp_path).load() == Kept()
    (aside,) = tmp_path.iterdir()
    assert aside.name.startswith("configuration.json.damaged-")
    assert aside.read_text() == text


def test_a_write_that_was_cut_off_leaves_the_former(tmp_path: Path) -> None:
    store = ConfigurationStore(tmp_path)
    store.save(Kept(3))
    (tmp_path / "configuration.json.new").write_text('{"number": 4, "sta')
    assert store.load() == Kept(3)


def test_files_of_what_nobody_needs_any_more_are_removed(tmp_path: Path) -> None:
    store = ConfigurationStore(tmp_path)
    for number in range(1, 7):
        (store.files_of(number) / "templates").mkdir(parents=True)
    store.save(Kept(6, running=configuration(5), previous=configuration(3)))
    assert sorted(path.name for path in store.files_of(1).parent.iterdir()) == ["3", "5", "6"]
