"""A tariff as the fields of a form and back: tables by position, so that seasons and periods can be renamed. Pure.

In a form a season or period is known by its position; the tables of prices are `cells` [season][period][tier] and
`single_cells` [season][period]. What the form cannot say is for the YAML tab: `shape` then gives None.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from cloud.kit.form_fields import read_document
from cloud.tariffs.files.checking import Document
from cloud.tariffs.model.hours import ALL
from cloud.tariffs.model.places import Place

Shape = dict[str, Any]
"""A document with its tables by position, every value a text, a list or a mapping."""

PREFIX: Final = "t."
_INTEGERS: Final = frozenset({"from_persons"})
_BOOLEANS: Final = frozenset({"cumulative", "inclusive"})
_LISTS: Final = frozenset({"of", "order", "beside_total"})
_KEPT_EMPTY: Final = frozenset({"price", "amount", "percent", "code", "bounds", "codes", "cells", "at_least"})
"""Fields whose emptiness is a mistake to be shown, not a thing left unsaid."""


def read_fields(fields: Sequence[tuple[str, str]]) -> Shape:
    """The shape that the fields of a form say: `t.tiers.bounds.0` = 240 and so on. Other fields are passed over."""
    # Blanks around a value are shown as the mistake that they are in a file; only blanks are nothing.
    return read_document(fields, PREFIX)


def document_of(shape: Shape) -> Document:
    """The document that a shape says; what was left empty is left unsaid where it may be."""
    seasons = [season.get("code", "") for season in shape.get("seasons", [])]
    codes = list(shape.get("periods", {}).get("codes", [])) or [ALL]
    document = {key: value for key, value in shape.items() if key != "components"}
    document["components"] = [_component(part, seasons, codes) for part in shape.get("components", [])]
    if "periods" in shape:
        document["periods"] = _periods(shape["periods"], seasons, codes)
    for name in ("minimum", "cap"):
        if not document.get(name, {}).get("amount", "x"):
            del document[name]
    said = _said(document)
    assert isinstance(said, dict)
    return said


def _component(part: Shape, seasons: list[str], codes: list[str]) -> Document:
    plain = {key: value for key, value in part.items() if key not in ("cells", "single_cells")}
    for cells, name in (("cells", "prices"), ("single_cells", "single")):
        if cells not in part:
            continue
        tables = [dict(zip(codes, rows, strict=False)) for rows in part[cells]]
        if not seasons:
            plain[name] = tables[0] if tables else {}
        else:
            plain["by_season" if name == "prices" else "single_by_season"] = dict(zip(seasons, tables, strict=False))
    return plain


def _periods(periods: Shape, seasons: list[str], codes: list[str]) -> Document:
    found = dict(periods)
    found["schedule"] = [
        {
            **entry,
            "seasons": [seasons[int(n)] for n in entry.get("seasons", []) if int(n) < len(seasons)],
            "hours": {code: _split(text) for code, text in zip(codes, entry.get("hours", []), strict=False)},
        }
        for entry in periods.get("schedule", [])
    ]
    if "registers" in periods:
        rows = periods["registers"].get("periods", [])
        told = {code: _split(text) for code, text in zip(codes, rows, strict=False) if text}
        found["registers"] = {**periods["registers"], "periods": told}
    return found


def _said(node: Any, key: str = "") -> Any:
    """Texts as the values they stand for; what is empty is dropped where that says the same."""
    if isinstance(node, dict):
        found = {name: _said(value, name) for name, value in node.items()}
        if key == "hours":
            return found  # a period without hours is named all the same
        return {
            name: value
            for name, value in found.items()
            if value not in ("", [], {}, None) or (value == "" and name in _KEPT_EMPTY)
        }
    if isinstance(node, list):
        return [_said(value, key) for value in node]
    if not isinstance(node, str):
        return node
    if key in _LISTS:
        return _split(node)
    if key in _BOOLEANS:
        return node == "true" if node else ""
    if (key in _INTEGERS and node.isdecimal()) or (key == "tiers" and node.isdecimal()):
        return int(node)
    return node


def _split(text: str) -> list[str]:
    return [part.strip() for part in text.replace("，", ",").replace("、", ",").split(",") if part.strip()]


def shape(document: Document) -> Shape | None:
    """The shape of a document, its tables filled up with empty cells; None when a form cannot say all of it."""
    try:
        found = _shape(document)
        said = document_of(found)
    except (AttributeError, KeyError, TypeError, ValueError, IndexError):
        return None  # another structure than a tariff has
    return found if _plain(said) == _plain(document) else None


def _shape(document: Document) -> Shape:
    found: Shape = _texts(document)
    seasons = [season["code"] for season in found.get("seasons", [])]
    codes = list(found.get("periods", {}).get("codes", [])) or [ALL]
    tiers = len(found.get("tiers", {}).get("bounds", [])) + 1
    found["components"] = [_part_shape(part, seasons, codes, tiers) for part in found["components"]]
    for entry in found.get("periods", {}).get("schedule", []):
        entry["seasons"] = [str(seasons.index(code)) for code in entry.get("seasons", [])]
        unknown = set(entry["hours"]) - set(codes)
        if unknown:
            raise ValueError(unknown)
        entry["hours"] = [", ".join(entry["hours"].get(code, [])) for code in codes]
    registers = found.get("periods", {}).get("registers")
    if registers is not None:
        if set(registers["periods"]) - set(codes):
            raise ValueError(registers)
        registers["periods"] = [", ".join(registers["periods"].get(code, [])) for code in codes]
    return found


def _texts(node: Any) -> Any:
    """A copy with every value as the text that a field shows."""
    if isinstance(node, Mapping):
        return {
            key: ", ".join(value) if key in _LISTS else _texts(value)
            for key, value in node.items()
            if value is not None
        }
    if isinstance(node, list):
        return [_texts(value) for value in node]
    return str(node).lower() if isinstance(node, bool) else str(node)


def _part_shape(part: Document, seasons: list[str], codes: list[str], tiers: int) -> Shape:
    tables = part.pop("by_season", None), part.pop("prices", None)
    singles = part.pop("single_by_season", None), part.pop("single", None)
    if part["kind"] != "energy":
        return part
    part["cells"] = [
        [_filled(list(table.get(code, [])), tiers) for code in codes] for table in _by_position(*tables, seasons)
    ]
    if singles != (None, None):
        part["single_cells"] = [[table.get(code, "") for code in codes] for table in _by_position(*singles, seasons)]
    return part


def _by_position(by_season: Document | None, all_year: Document | None, seasons: list[str]) -> list[Document]:
    if not seasons:
        return [all_year or {}]
    return [(by_season or {}).get(season, {}) for season in seasons]


def _filled(row: list[Any], tiers: int) -> list[Any]:
    return row + [""] * (tiers - len(row))


def _plain(node: Any) -> Any:
    """For comparing: every number a text, nothing empty."""
    if isinstance(node, Mapping):
        found = {key: _plain(value) for key, value in node.items()}
        return {key: value for key, value in found.items() if value not in ("", [], {}, None)}
    if isinstance(node, list):
        values = [_plain(value) for value in node]
        while values and values[-1] in ("", [], {}):
            values.pop()
        return values
    return node if isinstance(node, bool) else str(node)


def field_name(place: Place, document: Document) -> str:
    """The name of the field that shows a place of the document; that of its table or section where none does."""
    seasons = [one.get("code") for one in document.get("seasons", [])] if "seasons" in document else []
    codes = document.get("periods", {}).get("codes") or [ALL]
    parts: list[str | int] = list(place)
    if len(parts) > 2 and parts[0] == "components" and parts[2] in _TABLES:
        by_season = str(parts[2]).endswith("by_season")
        cells = "single_cells" if str(parts[2]).startswith("single") else "cells"
        rest = parts[3:] if by_season else ["", *parts[3:]]
        season = [seasons.index(rest[0]) if by_season and rest[0] in seasons else 0] if rest else []
        period = [codes.index(rest[1])] if len(rest) > 1 and rest[1] in codes else []
        parts = [*parts[:2], cells, *season, *period, *rest[2:]]
    if len(parts) > 4 and parts[1] == "schedule" and parts[3] == "hours" and parts[4] in codes:
        parts = [*parts[:4], codes.index(parts[4])]
    if len(parts) > 3 and parts[:3] == ["periods", "registers", "periods"] and parts[3] in codes:
        parts = [*parts[:3], codes.index(parts[3])]
    return PREFIX + ".".join(map(str, parts))


_TABLES: Final = frozenset({"prices", "by_season", "single", "single_by_season"})
