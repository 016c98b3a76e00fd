"""What the buttons of the fee form do: rows and classes come and go, what else was typed stays. Pure."""

import copy
from typing import Any

from cloud.kit.calendars import DAY_TYPES
from cloud.parking.fees.form import ROWS, Shape, empty_row, has_room


def act(shape: Shape, action: str) -> None:
    """Does `add:schedules.0.steps`, `remove:schedules.0.steps.1`, `add-class:large` to the shape.

    An action that is not known does nothing, nor does adding to a form that is full.
    """
    verb, _, argument = action.partition(":")
    if verb == "add-class" and has_room(shape):
        _add_class(shape, argument)
    elif verb == "add" and has_room(shape):
        _add(shape, argument.split("."))
    elif verb == "remove":
        _remove(shape, argument.split("."))


def _add_class(shape: Shape, name: str) -> None:
    """A class begins with what all others pay."""
    if shape["schedules"]:
        shape["schedules"].append({**copy.deepcopy(shape["schedules"][0]), "class": name})


def _add(shape: Shape, path: list[str]) -> None:
    parent, name = _at(shape, path[:-1]), path[-1]
    if name not in ROWS or not isinstance(parent, dict) or name not in parent:
        return
    rows = parent[name]
    if not rows and name in ("steps", "windows"):
        rows += _first_rows(parent, name)
    else:
        rows.append(empty_row(name))
        if name == "windows":
            rows[-1] |= {"start": rows[-2]["end"], "end": rows[0]["start"], "days": list(rows[-2]["days"])}


def _first_rows(parent: Shape, name: str) -> list[Shape]:
    """Two of them, with the one price that was there before."""
    if name == "steps":
        priced = parent.get("unit", parent)
        one = empty_row(name) | {"minutes": priced["minutes"], "price": priced["price"]}
        if priced is parent:  # in a window there is one or the other
            parent |= {"minutes": "", "price": ""}
        return [one, empty_row(name)]
    found = []
    for start, end in (("08:00", "20:00"), ("20:00", "08:00")):
        found.append(empty_row(name) | {"start": start, "end": end, "days": list(DAY_TYPES)} | parent["unit"])
    return found


def _remove(shape: Shape, path: list[str]) -> None:
    rows, number = _at(shape, path[:-1]), path[-1]
    removable = len(path) > 1 and (path[-2] in ROWS or (path == ["schedules", number] and number != "0"))
    if not removable or not isinstance(rows, list) or not number.isdecimal() or int(number) >= len(rows):
        return
    removed = rows.pop(int(number))
    if not rows and path[-2] == "steps" and "windows" in path:
        window = _at(shape, path[:-2])
        window["minutes"], window["price"] = removed["minutes"], removed["price"]


def _at(node: Any, path: list[str]) -> Any:
    """What lies there; None where there is nothing."""
    for part in path:
        if isinstance(node, list):
            node = node[int(part)] if part.isdecimal() and len(part) < 5 and int(part) < len(node) else None
        else:
            node = node.get(part) if isinstance(node, dict) else None
    return node
