"""Arbitrary bytes, and good bytes with a few of them changed, are refused by the one error meant for it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.fuzz.targets import TARGETS, Target

_SLOW = {"template-file", "site-file"}


def _changed(seeds: list[bytes]) -> st.SearchStrategy[bytes]:
    """A seed with some bytes replaced, dropped or inserted."""

    @st.composite
    def draw_changed(draw: st.DrawFn) -> bytes:
        data = bytearray(draw(st.sampled_from(seeds)))
        for _ in range(draw(st.integers(1, 6))):
            at = draw(st.integers(0, max(0, len(data) - 1)))
            kind = draw(st.sampled_from(("replace", "drop", "insert", "cut")))
            if kind == "replace" and data:
                data[at] = draw(st.integers(0, 255))
            elif kind == "drop":
                del data[at : at + draw(st.integers(1, 8))]
            elif kind == "insert":
                data[at:at] = draw(st.binary(min_size=1, max_size=8))
            else:
                del data[at:]
        return bytes(data)

    return draw_changed()


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_the_seeds_are_accepted(target: Target) -> None:
    seeds = list(target.seeds())
    assert seeds
    for seed in seeds:
        target.run(seed)


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_nothing_but_a_refusal_comes_of_bad_bytes(target: Target) -> None:
    seeds = list(target.seeds())
    examples = settings().max_examples // (10 if target.name in _SLOW else 1)

    @settings(max_examples=examples)
    @given(st.binary(max_size=300) | _changed(seeds))
    def feed(data: bytes) -> None:
        target(data)

    feed()
