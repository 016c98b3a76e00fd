"""YAML files into pydantic models; every problem names the file, the line, the key and what was expected."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from cloud.kit.errors import InvalidInput

M = TypeVar("M", bound=BaseModel)


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


def load_yaml(path: Path, model: type[M]) -> M:
    """Reads a YAML (or JSON) file as `model`, with strict types: a bare number is no string.

    Raises InvalidFile with all problems.
    """
    root = _compose(path)
    repeated = tuple(_repeated_keys(path, root))
    if repeated:
        raise InvalidFile(repeated)
    data = yaml.SafeLoader("").construct_document(root)
    try:
        return model.model_validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as error:
        raise InvalidFile([_problem(path, root, detail) for detail in error.errors(include_url=False)]) from error


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


def _compose(path: Path) -> yaml.Node:
    try:
        root = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except FileNotFoundError:
        raise InvalidFile([FileProblem(path, 0, "", "a readable file, found none")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidFile([FileProblem(path, 0, "", f"a readable UTF-8 file: {error}")]) from error
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise InvalidFile([FileProblem(path, line, "", f"valid YAML: {error.problem}")]) from error
    except yaml.YAMLError as error:
        raise InvalidFile([FileProblem(path, 0, "", f"valid YAML: {error}")]) from error
    if not isinstance(root, yaml.MappingNode):
        raise InvalidFile([FileProblem(path, 1, "", "a mapping of keys to values")])
    return root


def _repeated_keys(path: Path, root: yaml.Node) -> Iterator[FileProblem]:
    """YAML itself lets the last of two equal keys win, silently."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    yield FileProblem(path, key.start_mark.line + 1, str(key.value), "each key once")
                seen.add(str(key.value))
                waiting.append(value)


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
