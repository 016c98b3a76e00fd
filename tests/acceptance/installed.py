"""An empty environment into which a wheel is installed with one of its extras, without a network and in seconds.

What the wheel says it requires, and what that requires in turn, comes from the environment of the tests: as hard links,
in the versions of `requirements.lock`. Nothing else is there, and pip is asked whether everything is.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

from packaging.requirements import Requirement


def install(environment: Path, wheel: Path, extra: str) -> Path:
    """The folder of programs of a new `environment` that holds the wheel with `extra`, and what those require."""
    # The pip of the tests installs into it: an environment needs no pip of its own, and only what runs is compiled.
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True, timeout=120)
    pip = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "--disable-pip-version-check"]
    install_it = [*pip, "install", "--quiet", "--no-compile", "--no-index", "--no-deps", str(wheel)]
    subprocess.run(install_it, check=True, timeout=180, cwd=environment)
    (packages,) = environment.glob("lib/python*/site-packages")
    (itself,) = distributions(path=[str(packages)])
    for required in _closure(itself, {extra}):
        _link(required, packages)
    subprocess.run([*pip, "check"], check=True, capture_output=True, timeout=180, cwd=environment)
    return environment / "bin"


def _closure(wanted: Distribution, extras: set[str]) -> Iterator[Distribution]:
    """All that `wanted` with these extras requires, from the environment of the tests; each once."""
    given: set[str] = set()
    asked: set[tuple[str, str]] = set()
    waiting = [(wanted, extras)]
    while waiting:
        by, chosen = waiting.pop()
        for requirement in map(Requirement, by.requires or ()):
            if not _applies(requirement, chosen):
                continue
            found = distribution(requirement.name)
            if found.name not in given:
                given.add(found.name)
                yield found
            new = {(found.name, one) for one in {"", *requirement.extras}} - asked
            asked |= new
            if new:
                waiting.append((found, {one for _, one in new}))


def _applies(requirement: Requirement, extras: set[str]) -> bool:
    return requirement.marker is None or any(requirement.marker.evaluate({"extra": one}) for one in {"", *extras})


def _link(found: Distribution, into: Path) -> None:
    """Its files, without its programs."""
    for file in found.files or ():
        source, target = Path(str(found.locate_file(file))), into / file
        if ".." in file.parts or not source.is_file():
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(source, target)
        except OSError:  # another file system
            shutil.copy2(source, target)
