"""YAML files into pydantic models; every problem names the file, the line, the key and what was expected."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cloud.kit.errors import InvalidInput

M = TypeVar("M", bound=BaseModel)

_FastLoader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Faster by far where the library was built with it; the same nodes."""
_DEEPEST: Final = 40


@dataclass(frozen=True, slots=True)
class FileProblem:
    """One thing that is wrong with a file: where (line 0: nowhere in particular), and what was expected."""

    path: Path
    line: int
    key: str
    expected: str

    def __str__(self) -> str:
        place = f"{self.path}:{self.line}" if self.line else str(self.path)
        return f"{place}: {self.key}: {self.expected}" if self.key else f"{place}: {self.expected}"


class InvalidFile(InvalidInput):
    """A file that cannot be used, with all its problems."""

    title = "Invalid file"

    def __init__(self, problems: Sequence[FileProblem]) -> None:
        super().__init__("bad-file", "\n".join(map(str, problems)))
        self.problems = tuple(problems)


@dataclass(frozen=True, slots=True)
class YamlText:
    """A YAML mapping that was read, as plain values of JSON, and where each of them stands."""

    path: Path
    root: yaml.Node
    content: Any

    def problem(self, place: Sequence[int | str], expected: str) -> FileProblem:
        """A problem at a place inside the content; the line is that of the deepest part that is there."""
        return FileProblem(self.path, _line(self.root, place), _key(place), expected)


def parse_yaml(text: str, name: Path) -> YamlText:
    """Reads YAML that came from elsewhere; `name` is what problems call it. Raises InvalidFile.

    References are refused: a few lines of them unfold into more than any memory holds. So is what is nested so deeply
    that reading it would need more stack than there is.
    """
    _refuse_bombs(text, name)
    root = _compose(text, name)
    return YamlText(name, root, json.loads(_plain(root, name)))


def parse_yaml_file(path: Path) -> YamlText:
    """`parse_yaml` of a file. Raises InvalidFile."""
    return parse_yaml(_text(path), path)


def load_yaml(path: Path, model: type[M]) -> M:
    """Reads a YAML (or JSON) file as `model`, with strict types: a bare number is no string.

    Raises InvalidFile with all problems.
    """
    root = _compose(_text(path), path)
    try:
        return model.model_validate_json(_plain(root, path), strict=True)
    except ValidationError as error:
        raise InvalidFile([_problem(path, root, detail) for detail in error.errors(include_url=False)]) from error


class _Plain(yaml.SafeDumper):
    """Writes equal parts out each time: references are refused when they are read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the name is that of the library
        """Always."""
        return True


def yaml_text(content: object) -> str:
    """The YAML of plain values, in the order in which they come; `parse_yaml` reads the same content from it."""
    return yaml.dump(content, Dumper=_Plain, allow_unicode=True, sort_keys=False, default_flow_style=None, width=110)


def expectation(detail: ErrorDetails) -> str:
    """What a validation error expected, in one sentence."""
    match detail["type"]:
        case "missing":
            return "this key is required"
        case "extra_forbidden":
            return "unknown key"
        case "value_error":
            return str(detail["ctx"]["error"]) if "ctx" in detail else detail["msg"]
    return f"{detail['msg']}, found {_shown(detail['input'])}"


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError:
        raise InvalidFile([FileProblem(path, 0, "", "a readable file, found none")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile([FileProblem(path, 0, "", f"a readable UTF-8 file: {error}")]) from error


def _refuse_bombs(text: str, name: Path) -> None:
    depth = 0
    try:
        for event in yaml.parse(text, _FastLoader):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent):
                raise InvalidFile([FileProblem(name, _line_of(event.start_mark), "", "no references (*name)")])
            if depth > _DEEPEST:
                raise InvalidFile([FileProblem(name, _line_of(event.start_mark), "", f"at most {_DEEPEST} levels")])
    except (yaml.YAMLError, UnicodeError) as error:
        raise _not_yaml(name, error) from error


def _not_yaml(path: Path, error: Exception) -> InvalidFile:
    if isinstance(error, yaml.MarkedYAMLError):
        return InvalidFile([FileProblem(path, _line_of(error.problem_mark), "", f"valid YAML: {error.problem}")])
    return InvalidFile([FileProblem(path, 0, "", f"valid YAML: {error}")])


def _line_of(mark: Any) -> int:
    return 0 if mark is None else int(mark.line) + 1


def _compose(text: str, path: Path) -> yaml.Node:
    """The document as nodes: a mapping in which no key is repeated."""
    try:
        root = yaml.compose(text, Loader=_FastLoader)
    except yaml.YAMLError as error:
        raise _not_yaml(path, error) from error
    if not isinstance(root, yaml.MappingNode):
        raise InvalidFile([FileProblem(path, 1, "", "a mapping of keys to values")])
    repeated = tuple(_repeated_keys(path, root))
    if repeated:
        raise InvalidFile(repeated)
    return root


def _plain(root: yaml.Node, path: Path) -> str:
    """The document as JSON text."""
    try:
        return json.dumps(yaml.SafeLoader("").construct_document(root), default=str)
    except yaml.YAMLError as error:
        raise _not_yaml(path, error) from error
    except (TypeError, ValueError) as error:
        raise InvalidFile([FileProblem(path, 1, "", f"plain keys and values: {error}")]) from error


def _repeated_keys(path: Path, root: yaml.Node) -> Iterator[FileProblem]:
    """YAML itself lets the last of two equal keys win, silently."""
    waiting, known = [root], {id(root)}
    while waiting:
        node = waiting.pop()
        parts: list[yaml.Node] = []
        if isinstance(node, yaml.SequenceNode):
            parts = node.value
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    yield FileProblem(path, key.start_mark.line + 1, str(key.value), "each key once")
                seen.add(str(key.value))
                parts.append(value)
        # Where references are allowed, a part may lie in many places, even in itself.
        fresh = [part for part in parts if id(part) not in known]
        known |= set(map(id, fresh))
        waiting += fresh


def _problem(path: Path, root: yaml.Node, detail: ErrorDetails) -> FileProblem:
    return FileProblem(path, _line(root, detail["loc"]), _key(detail["loc"]), expectation(detail))


def _line(root: yaml.Node, loc: Sequence[int | str]) -> int:
    """Line of the deepest node on the path; parts that the file lacks (missing keys, union tags) are skipped."""
    node, line = root, root.start_mark.line
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if pair is not None:
                line, node = pair[0].start_mark.line, pair[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return line + 1


def _key(loc: Sequence[int | str]) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
