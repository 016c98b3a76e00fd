"""What the buttons of the tariff form do: tiers, seasons, periods, components come and go with their prices. Pure."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from cloud.tariffs.drafts.form import Shape

_NEW: Final[Mapping[str, dict[str, Any]]] = {
    "energy": {},
    "fixed": {"per": "month", "price": ""},
    "area": {"price": ""},
    "demand": {"price": ""},
    "capacity": {"price": ""},
    "power_factor": {"steps": [{"at_least": "0.90", "percent": "0"}, {"at_least": "0.00", "percent": "0"}]},
    "surcharge": {"percent": ""},
    "tax": {"percent": "", "inclusive": "true"},
}
COMPONENT_KINDS: Final = tuple(_NEW)
_ORDER: Final = {"power_factor": 1, "surcharge": 1, "tax": 2}
_Action = Callable[[Shape, str], None]


def act(shape: Shape, action: str) -> None:
    """Does `add-tier`, `remove-component:2` and so on to the shape; an action that is not known does nothing."""
    name, _, argument = action.partition(":")
    do = _ACTIONS.get(name)
    if do is not None:
        do(shape, argument)


def _energy(shape: Shape) -> list[Shape]:
    return [part for part in shape.get("components", []) if part.get("kind") == "energy"]


def _rows(shape: Shape) -> list[list[Any]]:
    return [row for part in _energy(shape) for table in part.get("cells", []) for row in table]


def _add_tier(shape: Shape, _argument: str) -> None:
    shape.setdefault("tiers", {}).setdefault("bounds", []).append("")
    for row in _rows(shape):
        row.append("")
    for part in _energy(shape):
        if "flat" in part:
            part["flat"].append("")


def _remove_tier(shape: Shape, _argument: str) -> None:
    bounds = shape.get("tiers", {}).get("bounds", [])
    if not bounds:
        return
    bounds.pop()
    for row in _rows(shape):
        del row[len(bounds) + 1 :]
    for part in _energy(shape):
        if "flat" in part:
            del part["flat"][len(bounds) + 1 :]


def _add_season(shape: Shape, _argument: str) -> None:
    seasons = shape.setdefault("seasons", [])
    first = not seasons
    seasons.append({"code": "", "first": "", "last": ""})
    for part in _energy(shape):
        for cells in ("cells", "single_cells"):
            tables = part.get(cells)
            if tables is not None and not first:
                tables.append(_blank(tables[0]))


def _remove_season(shape: Shape, argument: str) -> None:
    number = _number(argument, shape.get("seasons", []))
    if number is None:
        return
    del shape["seasons"][number]
    for part in _energy(shape):
        for cells in ("cells", "single_cells"):
            if len(part.get(cells, [])) > 1:
                del part[cells][number]
    for entry in shape.get("periods", {}).get("schedule", []):
        kept = [int(one) for one in entry.get("seasons", []) if int(one) != number]
        entry["seasons"] = [str(one - (one > number)) for one in kept]


def _add_period(shape: Shape, _argument: str) -> None:
    periods = shape.setdefault("periods", {"allocation": {"method": "proportional"}, "codes": []})
    fresh = ["peak", "valley"] if not periods["codes"] else [""]
    first = not periods["codes"]
    periods["codes"] += fresh
    for part in _energy(shape):
        for table in part.get("cells", []):
            table += [_blank(table[0]) for _ in fresh[int(first) :]]
        for table in part.get("single_cells", []):
            table += ["" for _ in fresh[int(first) :]]
    for entry in periods.get("schedule", []):
        entry["hours"] += ["" for _ in fresh]
    if "registers" in periods:
        periods["registers"].setdefault("periods", []).extend("" for _ in fresh)


def _remove_period(shape: Shape, argument: str) -> None:
    periods = shape.get("periods", {})
    number = _number(argument, periods.get("codes", []))
    if number is None:
        return
    if len(periods["codes"]) <= 2:
        del shape["periods"]
        for part in _energy(shape):
            for table in [*part.get("cells", []), *part.get("single_cells", [])]:
                del table[1:]
        return
    del periods["codes"][number]
    for part in _energy(shape):
        for table in [*part.get("cells", []), *part.get("single_cells", [])]:
            del table[number]
    for entry in periods.get("schedule", []):
        del entry["hours"][number]
    del periods.get("registers", {}).get("periods", [])[number : number + 1]


def _add_hours(shape: Shape, _argument: str) -> None:
    periods = shape.get("periods")
    if periods is not None:
        entry = {"seasons": [], "days": ["work", "rest", "holiday", "critical"], "hours": [""] * len(periods["codes"])}
        periods.setdefault("schedule", []).append(entry)


def _remove_hours(shape: Shape, argument: str) -> None:
    schedule = shape.get("periods", {}).get("schedule", [])
    number = _number(argument, schedule)
    if number is not None:
        del schedule[number]


def _add_component(shape: Shape, kind: str) -> None:
    if kind not in _NEW:
        return
    parts = shape.setdefault("components", [])
    taken = {part.get("code") for part in parts}
    code = next(one for n in range(1, 99) if (one := kind if n == 1 else f"{kind}-{n}") not in taken)
    made: Shape = {"kind": kind, "code": code}
    made |= {key: _copied(value) for key, value in _NEW[kind].items()}
    if kind == "energy":
        made["cells"] = _cells(shape)
        shape.setdefault("unit", "kWh")
        shape["unit"] = shape["unit"] or "kWh"
    position = sum(1 for part in parts if _ORDER.get(part.get("kind", ""), 0) <= _ORDER.get(kind, 0))
    parts.insert(position, made)


def _cells(shape: Shape) -> list[list[list[str]]]:
    tiers = len(shape.get("tiers", {}).get("bounds", [])) + 1
    periods = len(shape.get("periods", {}).get("codes", [])) or 1
    return [[[""] * tiers for _ in range(periods)] for _ in shape.get("seasons", []) or [None]]


def _remove_component(shape: Shape, argument: str) -> None:
    parts = shape.get("components", [])
    number = _number(argument, parts)
    if number is not None:
        del parts[number]


def _add_single(shape: Shape, _argument: str) -> None:
    for part in _energy(shape):
        part.setdefault("single_cells", [["" for _ in table] for table in part.get("cells", [])])


def _remove_single(shape: Shape, _argument: str) -> None:
    for part in _energy(shape):
        part.pop("single_cells", None)


def _add_flat(shape: Shape, _argument: str) -> None:
    for part in _energy(shape):
        part.setdefault("flat", [""] * (len(shape.get("tiers", {}).get("bounds", [])) + 1))


def _remove_flat(shape: Shape, _argument: str) -> None:
    for part in _energy(shape):
        part.pop("flat", None)


def _add_household(shape: Shape, _argument: str) -> None:
    shape["household"] = {"from_persons": "5", "raise_bounds_by": "", "per": "month", "tiers": ["1"]}


def _remove_household(shape: Shape, _argument: str) -> None:
    shape.pop("household", None)


def _add_step(shape: Shape, argument: str) -> None:
    number = _number(argument, shape.get("components", []))
    if number is not None:
        shape["components"][number].setdefault("steps", []).append({"at_least": "", "percent": ""})


def _remove_step(shape: Shape, argument: str) -> None:
    number = _number(argument, shape.get("components", []))
    if number is not None and shape["components"][number].get("steps"):
        shape["components"][number]["steps"].pop()


def _number(argument: str, values: list[Any]) -> int | None:
    return int(argument) if argument.isdecimal() and int(argument) < len(values) else None


def _blank(node: Any) -> Any:
    return [_blank(one) for one in node] if isinstance(node, list) else ""


def _copied(value: Any) -> Any:
    return [dict(one) for one in value] if isinstance(value, list) else value


_ACTIONS: Final[Mapping[str, _Action]] = {
    "add-tier": _add_tier,
    "remove-tier": _remove_tier,
    "add-season": _add_season,
    "remove-season": _remove_season,
    "add-period": _add_period,
    "remove-period": _remove_period,
    "add-hours": _add_hours,
    "remove-hours": _remove_hours,
    "add-component": _add_component,
    "remove-component": _remove_component,
    "add-single": _add_single,
    "remove-single": _remove_single,
    "add-flat": _add_flat,
    "remove-flat": _remove_flat,
    "add-household": _add_household,
    "remove-household": _remove_household,
    "add-step": _add_step,
    "remove-step": _remove_step,
}
