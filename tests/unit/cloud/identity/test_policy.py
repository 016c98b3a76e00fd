"""Roles, scopes and who may give what: deny by default."""

import itertools

import pytest

from cloud.identity.policy import (
    PERMISSIONS,
    RESIDENT_PERMISSIONS,
    ROLES,
    Access,
    Grant,
    access_of,
    may_grant,
)


def staff(*grants: Grant, all_projects: tuple[int, ...] = (1, 2, 3)) -> Access:
    access = access_of(grants, (), all_projects)
    assert access is not None
    return access


def test_without_a_role_or_link_there_is_no_access() -> None:
    assert access_of([], [], [1, 2]) is None


def test_an_unknown_role_gives_nothing() -> None:
    assert access_of([Grant("emperor", None)], [], [1]) is None
    assert staff(Grant("emperor", 2), Grant("guard", 1)).projects("parking.operate") == (1,)


def test_a_role_holds_in_its_project_only() -> None:
    access = staff(Grant("manager", 1), Grant("viewer", 2))
    assert access.projects("bills.read") == (1, 2)
    assert access.projects("bills.run") == (1,)
    assert access.may("bills.run", 1)
    assert not access.may("bills.run", 2)
    assert not access.may("users.manage")


def test_a_role_without_project_holds_in_all() -> None:
    assert staff(Grant("cashier", None)).projects("payments.write") == (1, 2, 3)


def test_a_resident_sees_his_persons_in_their_projects() -> None:
    access = access_of([], [(2, 20), (1, 10), (2, 21)], [1, 2, 3])
    assert access is not None
    assert (access.kind, access.persons) == ("resident", (10, 20, 21))
    assert access.permissions == RESIDENT_PERMISSIONS
    assert access.projects("bills.read") == (1, 2)


def test_staff_stay_staff_whatever_they_own() -> None:
    access = access_of([Grant("guard", 1)], [(1, 10)], [1])
    assert access is not None
    assert (access.kind, access.persons) == ("staff", ())


def test_a_user_of_a_merchant_gives_coupons_and_nothing_else() -> None:
    access = access_of([], [], [1, 2, 3], [(2, 7)])
    assert access is not None
    assert (access.kind, access.persons, access.merchants) == ("merchant", (), (7,))
    assert access.projects_by_permission == {"self.read": (2,), "coupons.give": (2,)}


def test_who_lives_here_or_works_here_is_no_merchant() -> None:
    for grants, links, kind in (([Grant("guard", 1)], [], "staff"), ([], [(1, 10)], "resident")):
        access = access_of(grants, links, [1], [(1, 7)])
        assert access is not None
        assert (access.kind, access.merchants) == (kind, ())
        assert not access.may("coupons.give")


@pytest.mark.parametrize("role", ROLES)
def test_roles_use_known_permissions_and_residents_only_hand_in_dispute_pay_reserve_and_invite(role: str) -> None:
    assert ROLES[role] <= PERMISSIONS
    assert "self.read" in ROLES[role]
    assert {one for one in RESIDENT_PERMISSIONS if not one.endswith(".read")} == {
        "readings.submit",
        "disputes.open",
        "payments.pay",
        "parking.counts",
        "parking.reserve",
        "notices.choose",
        "parking.invite",
    }


@pytest.mark.parametrize(("giver", "given"), list(itertools.product(ROLES, ROLES)))
def test_nobody_gives_away_more_than_he_holds_there(giver: str, given: str) -> None:
    access = staff(Grant(giver, 1))
    assert may_grant(access, given, 1) == (giver == "admin")
    assert not may_grant(access, given, 2)
