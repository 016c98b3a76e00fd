"""What each role may do, and in which projects: pure rules, deny by default."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

Kind = Literal["staff", "resident", "merchant"]

_READ = frozenset(
    f"{thing}.read"
    for thing in (
        "estate",
        "devices",
        "meters",
        "readings",
        "usage",
        "tariffs",
        "bills",
        "ledger",
        "payments",
        "prepaid",
        "parking",
        "notices",
    )
)
_SELF = frozenset({"self.read"})

PERMISSIONS = (
    _READ
    | _SELF
    | {
        "estate.write",
        "people.read",
        "people.write",
        "users.manage",
        "devices.write",
        "gateways.configure",
        "commands.send",
        "meters.write",
        "readings.write",
        "readings.submit",
        "tariffs.write",
        "tariffs.approve",
        "bills.run",
        "bills.approve",
        "ledger.write",
        "ledger.close",
        "disputes.open",
        "arrears.write",
        "payments.pay",
        "payments.write",
        "prepaid.write",
        "supply.disconnect",
        "parking.write",
        "parking.collect",
        "parking.operate",
        "parking.counts",
        "parking.reserve",
        "parking.report",
        "parking.waive",
        "parking.invite",
        "coupons.give",
        "jobs.read",
        "audit.read",
        "webhooks.write",
        "notices.write",
        "notices.choose",
    }
)
"""Every permission there is. `self.read` is what everybody who is signed in may do."""

# Who gives out a merchant's coupons is of that merchant.
_OF_STAFF = PERMISSIONS - {"coupons.give"}

ROLES: dict[str, frozenset[str]] = {
    "admin": _OF_STAFF,
    "manager": _OF_STAFF - {"users.manage", "audit.read", "webhooks.write"},
    "cashier": _SELF
    | {
        "estate.read",
        "people.read",
        "usage.read",
        "bills.read",
        "ledger.read",
        "disputes.open",
        "arrears.write",
        "payments.read",
        "payments.pay",
        "payments.write",
        "prepaid.read",
        "parking.read",
        "parking.counts",
        "parking.report",
        "parking.collect",
        "notices.read",
        "notices.choose",
        "jobs.read",
    },
    "guard": _SELF
    | {
        "estate.read",
        "parking.read",
        "parking.counts",
        "parking.reserve",
        "parking.collect",
        "parking.operate",
        "parking.invite",
    },
    "viewer": _SELF | _READ | {"parking.counts", "parking.report", "jobs.read"},
    # A sign or a web page that shows free places: its token opens nothing else.
    "display": _SELF | {"parking.counts"},
}
"""Permissions of the roles that staff can be granted."""

RESIDENT_PERMISSIONS = _SELF | {
    "estate.read",
    "meters.read",
    "readings.read",
    "readings.submit",
    "usage.read",
    "bills.read",
    "disputes.open",
    "payments.read",
    "prepaid.read",
    "payments.pay",
    "parking.read",
    "parking.counts",
    "parking.reserve",
    "parking.invite",
    "notices.read",
    "notices.choose",
}
"""What a resident may do; row-level security narrows it to what is his."""

MERCHANT_PERMISSIONS = _SELF | {"coupons.give"}
"""What the user of a merchant may do: give out coupons of that merchant and see what they come to."""


@dataclass(frozen=True, slots=True)
class Grant:
    """A role in one project, or in every project when `project_id` is None."""

    role: str
    project_id: int | None


@dataclass(frozen=True, slots=True)
class Access:
    """What somebody may do and where: permission to the sorted ids of the projects in which it is held."""

    kind: Kind
    projects_by_permission: dict[str, tuple[int, ...]]
    persons: tuple[int, ...] = ()
    merchants: tuple[int, ...] = ()

    @property
    def permissions(self) -> frozenset[str]:
        """The permissions held in at least one project."""
        return frozenset(self.projects_by_permission)

    def projects(self, permission: str) -> tuple[int, ...]:
        """Ids of the projects in which `permission` is held; empty when it is not."""
        return self.projects_by_permission.get(permission, ())

    def may(self, permission: str, project_id: int | None = None) -> bool:
        """Whether `permission` is held, in `project_id` or anywhere."""
        if project_id is None:
            return permission in self.projects_by_permission
        return project_id in self.projects(permission)


def access_of(
    grants: Iterable[Grant],
    links: Iterable[tuple[int, int]],
    all_projects: Iterable[int],
    merchants: Iterable[tuple[int, int]] = (),
) -> Access | None:
    """The access that roles, links (project, person) of a resident, or those (project, merchant) of a merchant give.

    A user with a staff role is staff, whatever flats or shops he has, and a resident is one whatever shops he has: one
    session never mixes views. Unknown roles (written by a newer version) give nothing; None without any.
    """
    known = [grant for grant in grants if grant.role in ROLES]
    if known:
        return Access("staff", _staff_projects(known, sorted(all_projects)))
    own = sorted(set(links))
    if own:
        projects = tuple(sorted({project_id for project_id, _ in own}))
        return Access(
            "resident", dict.fromkeys(RESIDENT_PERMISSIONS, projects), tuple(person_id for _, person_id in own)
        )
    shops = sorted(set(merchants))
    if shops:
        held = dict.fromkeys(MERCHANT_PERMISSIONS, tuple(sorted({project_id for project_id, _ in shops})))
        return Access("merchant", held, merchants=tuple(merchant_id for _, merchant_id in shops))
    return None


def _staff_projects(grants: list[Grant], all_projects: list[int]) -> dict[str, tuple[int, ...]]:
    held: dict[str, set[int]] = {}
    for grant in grants:
        where = all_projects if grant.project_id is None else [grant.project_id]
        for permission in ROLES[grant.role]:
            held.setdefault(permission, set()).update(where)
    return {permission: tuple(sorted(projects)) for permission, projects in held.items()}


def may_grant(giver: Access, role: str, project_id: int) -> bool:
    """Whether `giver` may give `role` in the project: nobody gives away more than he holds there himself."""
    return (
        role in ROLES
        and giver.may("users.manage", project_id)
        and all(giver.may(permission, project_id) for permission in ROLES[role])
    )
