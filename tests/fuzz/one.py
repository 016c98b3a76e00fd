"""One target under the coverage-guided fuzzer, in a process of its own: the fuzzer ends its process."""

import sys

import atheris

with atheris.instrument_imports(include=["gateway", "cloud"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """`python -m tests.fuzz.one TARGET [options of libFuzzer] CORPUS`."""
    target = TARGETS[sys.argv.pop(1)]

    def feed(data: bytes) -> None:
        target(bytes(data))

    atheris.Setup(sys.argv, feed)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
