"""The menu of staff: only what somebody may open, and only his place in it unfolded."""

import pytest

from cloud.identity.policy import PERMISSIONS, ROLES
from cloud.web.menu import Group, menu


def _shown(path: str, role: str) -> list[Group]:
    return menu(path, ROLES[role])


@pytest.mark.parametrize(
    ("path", "href"),
    [
        ("/", "/"),
        ("/parking", "/parking"),
        ("/parking/sessions/7", "/parking"),
        ("/parking/permits/new", "/parking/permits"),
        ("/parking/passages/x", "/parking/incidents"),
        ("/vehicles", "/parking-lots"),
        ("/parking-lists", "/parking-lots"),
        ("/parking-spaces/3", "/parking-lots"),
        ("/meters/3/readings", "/meters"),
        ("/reading-edits", "/meters"),
        ("/tariff-drafts/3/what-if", "/tariffs"),
    ],
)
def test_one_entry_is_where_the_reader_is(path: str, href: str) -> None:
    groups = _shown(path, "admin")
    assert [one.href for group in groups for one in group.entries if one.current] == [href]
    assert [group.label for group in groups if group.unfolded and group.label] == [
        group.label for group in groups if group.current and group.label
    ]


def test_an_unknown_place_is_none_of_the_menu() -> None:
    groups = _shown("/parked", "admin")
    assert not any(group.current for group in groups)
    assert not any(one.current for group in groups for one in group.entries)


@pytest.mark.parametrize("role", sorted(ROLES))
def test_only_what_the_role_opens_is_shown(role: str) -> None:
    entries = [one for group in _shown("/", role) for one in group.entries]
    assert all(set(one.any_of) & ROLES[role] for one in entries)
    every = [one for group in _shown("/", "admin") for one in group.entries if set(one.any_of) & ROLES[role]]
    assert [one.href for one in entries] == [one.href for one in every]
    assert all(set(one.any_of) <= PERMISSIONS for one in every)


def test_a_short_menu_is_not_folded() -> None:
    assert all(group.unfolded for group in _shown("/", "guard"))
    assert not all(group.unfolded for group in _shown("/", "admin"))
