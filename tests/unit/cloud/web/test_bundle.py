"""What is installed when the assets are bundled is locked, from whichever registry the machine uses."""

import json
from pathlib import Path

from cloud.web.bundle import bundle
from cloud.web.shell import STATIC, WEB


def test_lock_file_names_versions_and_hashes_but_no_addresses() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text("utf-8"))["packages"]
    installed = {name: entry for name, entry in packages.items() if name}
    assert installed
    assert all("integrity" in entry and "resolved" not in entry for entry in installed.values())


def test_second_call_leaves_what_is_up_to_date() -> None:
    bundle(WEB)
    before = (STATIC / "vendor").stat().st_ino
    bundle(WEB)
    assert (STATIC / "vendor").stat().st_ino == before


def test_sprite_draws_every_icon_of_the_list() -> None:
    bundle(WEB)
    sprite = (STATIC / "vendor" / "icons.svg").read_text("utf-8")
    for name in (Path(WEB) / "icons.txt").read_text("utf-8").split():
        assert f'<symbol id="{name}"' in sprite
