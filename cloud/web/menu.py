"""The menu of staff: what they may open, by subject, and where they are."""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Final

from cloud.kit.i18n import gettext

_FEW: Final = 14
"""With so many entries in all nothing is folded away."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A link. `beside`: beginnings of other addresses that belong to it; any one of `any_of` opens it."""

    href: str
    icon: str
    label: str
    any_of: tuple[str, ...]
    beside: tuple[str, ...] = ()
    current: bool = False

    def fit(self, path: str) -> int:
        """How much of `path` it is the place of; 0 for none."""
        fitting = [one for one in (self.href, *self.beside) if path == one or path.startswith(one.rstrip("/") + "/")]
        return max((len(one) for one in fitting if one != "/" or path == "/"), default=0)


@dataclass(frozen=True, slots=True)
class Group:
    """Entries of one subject; `label` is empty for those that stand alone. `unfolded`: shown without asking."""

    label: str
    icon: str
    entries: tuple[Entry, ...]
    unfolded: bool = True

    @property
    def current(self) -> bool:
        """Whether the reader is in it."""
        return any(one.current for one in self.entries)


def menu(path: str, permissions: Collection[str]) -> list[Group]:
    """The groups with something for the reader, in his language. Only his place is unfolded, or all if it is little."""
    mine = [
        replace(group, entries=tuple(one for one in group.entries if any(each in permissions for each in one.any_of)))
        for group in _groups()
    ]
    here = max((one for group in mine for one in group.entries), key=lambda one: one.fit(path), default=None)
    if here is not None and here.fit(path):
        mine = [_marked(group, here) for group in mine]
    few = sum(len(group.entries) for group in mine) <= _FEW
    return [replace(group, unfolded=few or not group.label or group.current) for group in mine if group.entries]


def _marked(group: Group, here: Entry) -> Group:
    return replace(group, entries=tuple(replace(one, current=one is here) for one in group.entries))


def _groups() -> tuple[Group, ...]:
    return (_first(), _metering(), _billing(), _parking(), _property(), _system())


def _first() -> Group:
    seen = ("readings.read", "devices.read", "jobs.read")
    entries = (
        Entry("/", "layout-dashboard", gettext("Overview"), ("self.read",)),
        Entry("/exceptions", "alert-triangle", gettext("Exceptions"), seen),
    )
    return Group("", "", entries)


def _metering() -> Group:
    of_meters = ("/reading-edits", "/reading-imports", "/reading-submissions", "/meter-exceptions", "/thresholds")
    entries = (
        Entry("/meters", "gauge", gettext("Meters"), ("meters.read",), of_meters),
        Entry("/reading-round", "check", gettext("Reading round"), ("readings.write",)),
        Entry("/usage", "bolt", gettext("Usage"), ("usage.read",)),
        Entry("/meter-health", "trending-up", gettext("Meter health"), ("meters.read",)),
        Entry("/losses", "trending-down", gettext("Losses"), ("usage.read",)),
        Entry("/leaks", "droplet", gettext("Night flows"), ("usage.read",)),
        Entry("/apportionment", "calculator", gettext("Apportionment"), ("usage.read",)),
    )
    return Group(gettext("Metering"), "gauge", entries)


def _billing() -> Group:
    of_bills = ("/notes", "/online-payments", "/accounts", "/releases", "/payment-refunds", "/provider-differences")
    of_agreements = ("/estimated-services", "/payment-terms")
    entries = (
        Entry("/bills", "receipt", gettext("Bills"), ("bills.read",), of_bills),
        Entry("/bill-runs", "calculator", gettext("Bill runs"), ("bills.run",)),
        Entry("/adjustments", "history", gettext("Corrections"), ("bills.read",), ("/re-ratings",)),
        Entry("/arrears", "clock", gettext("Arrears"), ("bills.read",), ("/instalment-plans",)),
        Entry("/prepaid", "bolt", gettext("Prepaid"), ("prepaid.read",), ("/supply-cases",)),
        Entry("/ledger", "cash", gettext("Ledger"), ("ledger.read",)),
        Entry("/tariffs", "receipt", gettext("Tariffs"), ("tariffs.read",), ("/tariff-versions", "/tariff-drafts")),
        Entry("/agreements", "inbox", gettext("Agreements"), ("bills.run",), of_agreements),
        Entry("/concessions", "trending-down", gettext("Concessions"), ("bills.run",)),
    )
    return Group(gettext("Billing"), "receipt", entries)


def _parking() -> Group:
    desk = ("/parking/desk", "/parking/sessions", "/parking/shifts", "/parking/lanes")
    lots = ("/parking/lots", "/parking-lists", "/vehicles", "/parking-spaces")
    entries = (
        Entry("/parking", "barrier-block", gettext("Guard's desk"), ("parking.read",), desk),
        Entry(
            "/parking/incidents",
            "alert-triangle",
            gettext("Parking incidents"),
            ("parking.operate",),
            ("/parking/passages", "/parking/set-aside"),
        ),
        Entry("/parking/permits", "car", gettext("Permits"), ("parking.read",), ("/parking/cards",)),
        Entry("/visitor-passes", "user", gettext("Visitors"), ("parking.read",), ("/vehicle-requests",)),
        Entry("/parking/reservations", "check", gettext("Reservations"), ("parking.read",)),
        Entry("/parking/debts", "cash", gettext("Unpaid stays"), ("parking.read",), ("/parking/money",)),
        Entry(
            "/parking/coupons",
            "receipt",
            gettext("Coupons"),
            ("parking.collect",),
            ("/parking/merchants", "/parking/coupon-batches"),
        ),
        Entry("/parking/reports", "trending-up", gettext("Parking reports"), ("parking.report",)),
        Entry("/parking-lots", "parking", gettext("Car parks"), ("parking.read",), lots),
    )
    return Group(gettext("Parking"), "parking", entries)


def _property() -> Group:
    entries = (
        Entry("/estate/units", "building", gettext("Units"), ("estate.read",)),
        Entry("/estate/moves", "door-enter", gettext("Moves in and out"), ("people.read",)),
        Entry("/estate/people", "user", gettext("People"), ("people.read",)),
        Entry("/calendar", "history", gettext("Calendar"), ("estate.read",)),
        Entry("/notices", "info-circle", gettext("Notices"), ("notices.read",)),
    )
    return Group(gettext("Property"), "building", entries)


def _system() -> Group:
    entries = (
        Entry("/devices", "cpu", gettext("Devices"), ("devices.read",), ("/gateways",)),
        Entry("/webhooks", "plug-connected", gettext("Webhooks"), ("webhooks.write",)),
        Entry("/audit", "history", gettext("Audit trail"), ("audit.read",)),
    )
    return Group(gettext("System"), "cpu", entries)
