"""Plates that look alike: classes, one sign, one edit."""

from hypothesis import given
from hypothesis import strategies as st

from cloud.parking.stays.likeness import FROM, INTO, confusable, one_edit_apart, skeleton

SIGNS = sorted({*FROM, *INTO, "京", "粤", "A", "3"})
plates = st.text(st.sampled_from(SIGNS), min_size=1, max_size=7)


def _distance(one: str, other: str) -> int:
    """Edit distance by its definition."""
    if not one or not other:
        return len(one) + len(other)
    if one[0] == other[0]:
        return _distance(one[1:], other[1:])
    return 1 + min(_distance(one[1:], other), _distance(one, other[1:]), _distance(one[1:], other[1:]))


def test_groups_are_apart_and_nothing_stands_for_what_is_replaced() -> None:
    assert len(set(FROM)) == len(FROM) == len(INTO)
    assert not set(FROM) & set(INTO)


def test_what_cameras_take_for_one_another() -> None:
    assert confusable("京A12345", "京A1234S")
    assert confusable("沪B00001", "津B00001")
    assert not confusable("京A12345", "京A12346"), "these do not look alike"
    assert not confusable("京A12345", "京AI234S"), "two signs"
    assert not confusable("#A1234567", "#AI234567"), "tickets look like nothing else"


@given(plates, plates, plates)
def test_skeletons_are_classes(one: str, other: str, third: str) -> None:
    assert skeleton(skeleton(one)) == skeleton(one)
    assert confusable(one, other) == confusable(other, one)
    if confusable(one, other) and confusable(other, third):
        assert skeleton(one) == skeleton(third)


@given(plates, plates)
def test_one_edit_apart_is_edit_distance_one(one: str, other: str) -> None:
    assert one_edit_apart(one, other) == (_distance(one, other) == 1)


@given(plates, st.integers(0, 6), st.sampled_from(SIGNS))
def test_one_changed_sign_is_one_edit(plate: str, at: int, sign: str) -> None:
    changed = plate[:at] + sign + plate[at + 1 :]
    assert one_edit_apart(plate, changed) == (_distance(plate, changed) == 1)
