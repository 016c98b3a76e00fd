"""Fields of a form that say a whole document: `t.tiers.bounds.0` = 240 and so on. Pure."""

from collections.abc import Iterable
from typing import Any, Final

_DEEPEST: Final = 12


def read_document(fields: Iterable[tuple[str, str]], prefix: str) -> dict[str, Any]:
    """The mapping that the fields whose names begin with `prefix` say; all others are passed over.

    Keys that are all numbers make a list in their order, with no gaps; the values of fields named `….name[]` are a list
    in the order in which they were sent. Of only blanks nothing is left; other values are as they were typed.
    """
    root: dict[str, Any] = {}
    for name, value in fields:
        if not name.startswith(prefix):
            continue
        *path, last = name.removeprefix(prefix).split(".", _DEEPEST)
        node = root
        for part in path:
            child = node.setdefault(part, {})
            node = child if isinstance(child, dict) else {}
        if last.endswith("[]"):
            several = node.setdefault(last.removesuffix("[]"), {})
            if isinstance(several, dict):
                several[str(len(several))] = value.strip()
        else:
            node[last] = value if value.strip() else ""
    # Numbers alone at the top are no list: a form says a mapping.
    return {key: _listed(value) for key, value in root.items()}


def _listed(node: Any) -> Any:
    if not isinstance(node, dict):
        return node
    if node and all(key.isascii() and key.isdecimal() for key in node):
        return [_listed(node[key]) for key in sorted(node, key=lambda key: (len(key), key))]
    return {key: _listed(value) for key, value in node.items()}
