"""A comparison of two texts leads from the one to the other."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.devices.differences import Line, differences

LINES = st.lists(st.sampled_from(["a", "b", "  c: 1", "@@ x", "", "-", "+"]), max_size=12)


def test_only_what_changed_is_shown_with_its_place() -> None:
    old = {"site.yaml": "a\nb\nc\n", "templates/x.yaml": "x\n"}
    new = {"site.yaml": "a\nB\nc\n", "templates/y.yaml": "y\n"}
    assert differences(old, new) == [
        Line("place", "site.yaml @@ -1,3 +1,3 @@"), Line("same", "a"), Line("gone", "b"), Line("new", "B"),
        Line("same", "c"),
        Line("place", "templates/x.yaml @@ -1 +0,0 @@"), Line("gone", "x"),
        Line("place", "templates/y.yaml @@ -0,0 +1 @@"), Line("new", "y"),
    ]  # fmt: skip


def test_texts_that_would_take_too_long_are_shown_as_replaced() -> None:
    old, new = "\n".join(["x"] * 5_000), "y"
    found = differences({"s": old}, {"s": new})
    assert [line.kind for line in found] == ["place", *["gone"] * 5_000, "new"]


@given(LINES, LINES)
def test_lines_that_go_and_come_are_those_that_differ(old: list[str], new: list[str]) -> None:
    found = differences({"s": "\n".join(old)}, {"s": "\n".join(new)})
    before, after = "\n".join(old).splitlines(), "\n".join(new).splitlines()
    assert bool(found) == (before != after)
    gone = [line.text for line in found if line.kind == "gone"]
    come = [line.text for line in found if line.kind == "new"]
    assert len(before) - len(gone) == len(after) - len(come)
    assert sorted([*before, *come]) == sorted([*after, *gone])
