"""What services, components, units, seasons and hours of a tariff are called in the reader's language.

Tariffs give them codes of their own; the common ones have names here, any other is shown as it is.
"""

from collections.abc import Mapping
from typing import Final, Protocol

from cloud.kit import i18n
from cloud.kit.i18n import marked as _

SERVICES: Final[Mapping[str, str]] = {
    "electricity": _("Electricity"),
    "water": _("Water"),
    "heat": _("Heat"),
    "gas": _("Gas"),
    "property": _("Property fee"),
    "property-fee": _("Property fee"),
    "parking": _("Parking"),
    "rent": _("Rent"),
    "package": _("Package"),
    "maintenance": _("Maintenance"),
    "cleaning": _("Cleaning"),
    "penalty": _("Penalty"),
}

KINDS: Final[Mapping[str, str]] = {
    "usage": _("Usage"),
    "fixed": _("Basic charge"),
    "area": _("By area"),
    "demand": _("Highest load"),
    "capacity": _("Contracted capacity"),
    "power_factor": _("Power factor adjustment"),
    "minimum": _("Up to the least amount"),
    "cap": _("Above the highest amount"),
    "surcharge": _("Surcharge"),
    "tax": _("Tax"),
    "discount": _("Discount"),
    "adjustment": _("Adjustment"),
    "rounding": _("Rounding"),
    "note": _("Notes issued before"),
}

COMPONENTS: Final[Mapping[str, str]] = {
    "water": _("Water price"),
    "sewage": _("Sewage treatment"),
    "resource_fee": _("Water resource fee"),
    "property_fee": _("Property fee"),
    "rent": _("Rent"),
    "one_off": _("One-off charge"),
    "package": _("Package"),
    "vat": _("VAT"),
}

UNITS: Final[Mapping[str, str]] = {
    "m3": "m³",
    "m2": "m²",
    "day": _("days"),
    "month": _("months"),
    "quarter": _("quarters"),
    "half_year": _("half-years"),
    "year": _("years"),
    "m2_month": _("m² × months"),
    "m2_quarter": _("m² × quarters"),
    "m2_half_year": _("m² × half-years"),
    "m2_year": _("m² × years"),
    "piece": _("pieces"),
    "package": _("packages"),
    "bill": "",
}

TIME_PERIODS: Final[Mapping[str, str]] = {
    "sharp": _("Sharp peak"),
    "peak": _("Peak"),
    "flat": _("Mid-peak"),
    "shoulder": _("Mid-peak"),
    "valley": _("Valley"),
    "deep_valley": _("Deep valley"),
    "deep-valley": _("Deep valley"),
    "all": _("All day"),
}

REGISTERS: Final[Mapping[str, str]] = {
    "total": _("Total register"),
    "sharp": _("Register sharp peak (T1)"),
    "peak": _("Register peak (T2)"),
    "flat": _("Register mid-peak (T3)"),
    "valley": _("Register valley (T4)"),
    "deep_valley": _("Register deep valley (T5)"),
}

SEASONS: Final[Mapping[str, str]] = {
    "summer": _("Summer"),
    "winter": _("Winter"),
    "other": _("Other months"),
    "wet": _("Wet season"),
    "dry": _("Dry season"),
    "normal": _("Normal season"),
}

BILL_STATES: Final[Mapping[str, str]] = {
    "draft": _("Draft"),
    "issued": _("To pay"),
    "paid": _("Paid"),
    "disputed": _("Disputed"),
    "void": _("Void"),
}


class Named(Protocol):
    """What a line is named by: the component of the tariff, else its kind."""

    @property
    def kind(self) -> str:
        """Kind of the line."""

    @property
    def component(self) -> str:
        """Code of the component in its tariff."""


def service_name(service: str) -> str:
    """Name of a service."""
    return _named(SERVICES, service)


def line_name(line: Named) -> str:
    """What a line of a bill is for."""
    return i18n.gettext(COMPONENTS.get(line.component, KINDS.get(line.kind, line.kind)))


def component_name(component: str) -> str:
    """Name of a component that is no line."""
    return _named(COMPONENTS, component)


def unit_name(unit: str | None) -> str:
    """A unit as people write it; empty without one."""
    return _named(UNITS, unit or "")


def time_period_name(code: str) -> str:
    """Name of a price period."""
    return _named(TIME_PERIODS, code)


def register_name(register: str) -> str:
    """Name of a register of a meter."""
    return _named(REGISTERS, register)


def season_name(code: str) -> str:
    """Name of a season."""
    return _named(SEASONS, code)


def bill_state_name(state: str, kind: str = "bill") -> str:
    """State of a bill or note: an issued credit note is owed to the account, not paid by it."""
    if kind == "credit_note" and state == "paid":
        return i18n.gettext("Credited")
    return _named(BILL_STATES, state)


def _named(names: Mapping[str, str], code: str) -> str:
    return i18n.gettext(names.get(code, code))
