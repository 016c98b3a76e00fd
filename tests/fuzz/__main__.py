"""`python -m tests.fuzz [TARGET …] [--seconds N]`: coverage-guided fuzzing of every target, one process each.

Exits with 1 when a target raised what it must not; the input is kept in `.fuzz/` and named.
"""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.fuzz.targets import TARGETS

_KEPT: Final = Path(".fuzz")


def main() -> None:
    """Runs the chosen targets one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all when none is given")
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    options = parser.parse_args()
    chosen = options.targets or list(TARGETS)
    if unknown := set(chosen) - set(TARGETS):
        parser.error(f"unknown target {', '.join(sorted(unknown))}")
    failed = [name for name in chosen if not _fuzzed(name, options.seconds)]
    print(f"{len(chosen) - len(failed)} passed, {len(failed)} failed")
    if failed:
        sys.exit(f"findings in {', '.join(failed)}; inputs in {_KEPT}")


def _fuzzed(name: str, seconds: int) -> bool:
    corpus = _KEPT / name / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(TARGETS[name].seeds()):
        (corpus / f"seed-{number:03}").write_bytes(seed)
    print(f"fuzzing {name} for {seconds} s", flush=True)
    command = [sys.executable, "-m", "tests.fuzz.one", name]
    command += [f"-max_total_time={seconds}", f"-artifact_prefix={_KEPT / name}/", "-print_final_stats=1", str(corpus)]
    log = _KEPT / name / "log"
    with log.open("w") as out:
        code = subprocess.run(command, stdout=out, stderr=subprocess.STDOUT, check=False).returncode
    tail = log.read_text(errors="replace").splitlines()
    print("\n".join(line for line in tail if line.startswith("stat::number_of_executed_units") or (code and line)))
    return code == 0


if __name__ == "__main__":
    main()
