"""Places inside a tariff in words: component, season, period, tier."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cloud.kit import i18n
from cloud.kit.i18n import marked as _

Place = tuple[str | int, ...]
"""Keys and positions from the top of a document to one of its values."""

KEYS: Final[Mapping[str, str]] = {
    "currency": _("Currency"),
    "service": _("Service"),
    "unit": _("Unit of quantity"),
    "source": _("Source"),
    "components": _("Components"),
    "kind": _("Kind"),
    "code": _("Code"),
    "price": _("Price"),
    "prices": _("Prices"),
    "by_season": _("Prices by season"),
    "single": _("Prices without tiers"),
    "single_by_season": _("Prices without tiers by season"),
    "flat": _("Flat amounts"),
    "factor": _("Factor"),
    "per": _("Per"),
    "partial": _("Part of a window or month"),
    "percent": _("Percentage"),
    "inclusive": _("Included in the prices"),
    "of": _("Share of"),
    "steps": _("Steps"),
    "at_least": _("Power factor from"),
    "tiers": _("Tiers"),
    "mode": _("Mode"),
    "window": _("Tier window"),
    "anchor": _("First day of the year"),
    "free": _("Free quantity"),
    "package": _("Size of a package"),
    "household": _("Large households"),
    "from_persons": _("Persons from"),
    "raise_bounds_by": _("Bounds raised by"),
    "each": _("Once for each"),
    "seasons": _("Seasons"),
    "first": _("First day"),
    "last": _("Last day"),
    "periods": _("Periods of the day"),
    "codes": _("Codes"),
    "allocation": _("How usage meets the tiers"),
    "method": _("Way of sharing"),
    "order": _("Order of the periods"),
    "schedule": _("Hours"),
    "hours": _("Hours"),
    "days": _("Kinds of days"),
    "registers": _("Registers"),
    "beside_total": _("Registers that the total leaves out"),
    "minimum": _("Least amount"),
    "cap": _("Highest amount"),
    "amount": _("Amount"),
    "rounding": _("Rounding"),
    "level": _("Rounded"),
    "cumulative": _("Cumulative"),
}
"""What the keys of a tariff file are called."""

_TIERED: Final = frozenset({"prices", "by_season", "flat"})


def where(place: Place, document: Mapping[str, Any]) -> str:
    """The place in the language in use; empty for the document as a whole."""
    found: list[str] = []
    node: Any = document
    table = ""
    for position, part in enumerate(place):
        before = place[position - 1] if position else ""
        table = part if part in _TIERED else table
        found.append(_said(part, before, position, place, node, table))
        node = _child(node, part)
    return " › ".join(text for text in found if text)


def _said(part: str | int, before: str | int, position: int, place: Place, node: Any, table: str | int) -> str:
    if isinstance(part, int):
        return _numbered(part, before, node, table)
    if before in ("by_season", "single_by_season"):
        return i18n.gettext(_("season %(code)s")) % {"code": part}
    if before == "registers" and part == "periods":
        return ""
    if before in ("prices", "single", "hours") or (position > 1 and place[position - 2] in (*_BY_SEASON, "registers")):
        return "" if part == "all" else i18n.gettext(_("period %(code)s")) % {"code": part}
    if part in ("components", "seasons") and position + 1 < len(place) and isinstance(place[position + 1], int):
        return ""
    return i18n.gettext(KEYS.get(part, part))


_BY_SEASON: Final = ("by_season", "single_by_season")


def _numbered(part: int, before: str | int, node: Any, table: str | int) -> str:
    child = _child(node, part)
    name = child.get("code") if isinstance(child, Mapping) else None
    if before == "components":
        return i18n.gettext(_("Component %(code)s")) % {"code": name or part + 1}
    if before == "seasons":
        return i18n.gettext(_("season %(code)s")) % {"code": name or part + 1}
    if before == "bounds":
        return i18n.gettext(_("bound of tier %(number)s")) % {"number": part + 1}
    if table in _TIERED:
        return i18n.gettext(_("tier %(number)s")) % {"number": part + 1}
    return i18n.gettext(_("number %(number)s")) % {"number": part + 1}


def _child(node: Any, part: str | int) -> Any:
    if isinstance(node, Mapping):
        return node.get(part)
    if isinstance(node, Sequence) and not isinstance(node, str) and isinstance(part, int) and part < len(node):
        return node[part]
    return None
