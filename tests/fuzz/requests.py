"""Requests made from the OpenAPI document: mostly what it asks for, with something hostile here and there."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st

METHODS = ("post", "put", "patch", "get", "delete")
BIG = 2**63

NASTY_TEXTS = ["", " ", "\0", "a\0b", "\ud800", "\u202e", "'; --", "x" * 5000, "NaN", "-1", "1e400", "%00", "𝟙", "[]"]
NASTY_NUMBERS = [-1, 0, BIG - 1, BIG, -BIG - 1, 2**64, 10**40, 10**400]
DATES = ["0001-01-01", "9999-12-31", "2026-02-30", "2026-01-01", "2026-02-01", "10000-01-01", "0000-00-00", "1"]
TIMES = [
    "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-12:00",
    "2026-01-01T00:00:00",
    "2026-01-01T00:00:00+08:00",
    "2026-02-01T00:00:00Z",
    "99999999999999999",
    "2026-01-01T00:00:00+99:99",
]
# Cursors of other lists, of other types and beyond every range: base64 of ["a"], [1e99], [2**63], [null], {}, [1, "x"]…
CURSORS = ["WyJhIl0", "WzFlOTld", "WzkyMjMzNzIwMzY4NTQ3NzU4MDhd", "W251bGxd", "e30", "WzEsIngiXQ", "WyJcdTAwMDAiXQ",
           "Wy0xXQ", "W3RydWVd", "W10", "WyIxIl0", "WzEsIlwwIl0", "é", "====", "\0", "WzEsIiIsIiIsIiIsIiJd",
           "WzEsIlx1MDAwMCIsIiIsIiIsIiJd",
           "WzE4NDQ2NzQ0MDczNzA5NTUxNjE1XQ", "Wzk5OTk5OTk5OTk5OTk5OTksIngiXQ"]  # fmt: skip

_NASTY = st.one_of(
    st.none(),
    st.booleans(),
    st.sampled_from(NASTY_NUMBERS),
    st.sampled_from(NASTY_TEXTS),
    st.sampled_from([1.5, float("inf"), float("nan")]),
    st.just([]),
    st.just({}),
    st.just([[[{"a": "\0"}]]]),
    st.text(max_size=20),
)


@dataclass(frozen=True)
class Operation:
    """One method of one path."""

    method: str
    path: str
    description: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method.upper()} {self.path}"


@dataclass
class Request:
    """A request as a client would send it."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: Any = None
    form: dict[str, bytes] | None = None
    """Parts of a multipart form instead of a body."""


def operations(document: dict[str, Any]) -> list[Operation]:
    """Every operation of the document; those that end something, such as the token one asks with, come last."""
    return [
        Operation(method, path, methods[method])
        for method in METHODS
        for path, methods in document["paths"].items()
        if method in methods
    ]


@st.composite
def requests(draw: st.DrawFn, document: dict[str, Any], operation: Operation) -> Request:
    """A request to the operation; one part in four of its inputs is hostile."""
    url, query, headers = operation.path, [], {"Idempotency-Key": draw(st.uuids()).hex}
    for parameter in operation.description.get("parameters", []):
        name, place = parameter["name"], parameter["in"]
        drawn = draw(_values(document, parameter["schema"], name))
        value = _as_text(drawn)
        if drawn is None and place != "path":
            continue
        if place == "path":
            url = url.replace("{" + name + "}", quote(value or "0", safe=""))
        elif place == "query" and (parameter.get("required") or draw(st.booleans())):
            query.append(f"{name}={quote(value, safe='')}")
        elif place == "header" and draw(st.integers(0, 9)) == 0:
            headers[name] = "".join(char for char in value if " " <= char < "\x7f")
    request = Request(operation.method.upper(), f"{url}?{'&'.join(query)}" if query else url, headers)
    if "requestBody" in operation.description:
        kind, content = next(iter(operation.description["requestBody"]["content"].items()))
        drawn = draw(_values(document, content["schema"], "body"))
        if kind == "multipart/form-data":
            parts = drawn if isinstance(drawn, dict) else {"file": drawn}
            request.form = {name: _as_text(value).encode() for name, value in parts.items()}
        else:
            request.body = drawn
    return request


def _as_text(value: object) -> str:
    return str(value).encode("utf-8", "replace").decode()


_KNOWN: dict[tuple[int, str], tuple[dict[str, Any], st.SearchStrategy[Any]]] = {}
"""What was made of a schema, by its identity; the schema is kept beside it, so that no other one gets its identity."""


def _values(document: dict[str, Any], schema: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    """Made once of each schema: making the strategies of a large body anew takes longer than its request."""
    known = _KNOWN.get((id(schema), name))
    if known is None:
        good, hostile = _good(document, schema, name), _hostile(schema)
        made = st.integers(0, 7).flatmap(lambda dice: hostile if dice == 0 else good)
        known = _KNOWN[id(schema), name] = schema, made
    return known[1]


def _hostile(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    shape = {kind.get("format") for kind in _kinds(schema)}
    if "date" in shape:
        return st.sampled_from(DATES) | _NASTY
    return st.sampled_from(TIMES) | _NASTY if "date-time" in shape else _NASTY


def _kinds(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield schema
    yield from schema.get("anyOf", [])


def _good(document: dict[str, Any], schema: dict[str, Any], name: str) -> st.SearchStrategy[Any]:
    if "$ref" in schema:
        return _good(document, document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], name)
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return st.one_of([_good(document, one, name) for one in schema[several]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if name == "cursor":
        return st.sampled_from(CURSORS)
    if "examples" in schema:
        return st.sampled_from(schema["examples"]) | st.sampled_from(schema["examples"]) | _of_type(schema)
    if schema.get("type") == "object":
        return _object(document, schema)
    if schema.get("type") == "array":
        items = _values(document, schema.get("items", {}), name)
        return st.lists(items, min_size=min(schema.get("minItems", 0), 3), max_size=3)
    return _of_type(schema)


def _object(document: dict[str, Any], schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    required = set(schema.get("required", []))
    known = {name: _values(document, inner, name) for name, inner in schema.get("properties", {}).items()}
    made = st.fixed_dictionaries(
        {name: values for name, values in known.items() if name in required},
        optional={name: values for name, values in known.items() if name not in required},
    )
    unknown = st.dictionaries(st.sampled_from(["a", "all", "\0", "\ud800", "__proto__", "x" * 300]), _NASTY, max_size=1)
    strange = st.integers(0, 9).flatmap(lambda dice: unknown if dice == 0 else st.just({}))
    return st.tuples(made, strange).map(lambda pair: {**pair[0], **pair[1]})


def _of_type(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    match schema.get("type"), schema.get("format"):
        case "integer", _:
            # Few numbers, so that many of them are ids of rows that exist.
            return st.integers(1, 3) | st.sampled_from([1, schema.get("minimum", 1), schema.get("maximum", 1)])
        case "boolean", _:
            return st.booleans()
        case "string", "date":
            return st.sampled_from(DATES[3:5]) | st.dates().map(str)
        case "string", "date-time":
            return st.sampled_from(TIMES[3:5]) | st.sampled_from(TIMES)
        case "string", _ if "pattern" in schema:
            return st.sampled_from(["a-1", "1.00", "CNY", "0.5", "electricity"]) | st.text(max_size=8)
        case "string", _:
            longest = min(schema.get("maxLength", 30), 5000)
            return st.text(min_size=min(schema.get("minLength", 0), longest), max_size=min(longest, 30)) | st.just("ab")
        case "null", _:
            return st.none()
        case _:
            return _NASTY
