"""YAML files into pydantic models; every error names the file, the line, the key and what was expected."""

import difflib
import json
import types
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from gateway.errors import ConfigError, Problem

Loc = tuple[int | str, ...]
Finding = tuple[Loc, str]
"""A path inside the file and what was expected there."""

M = TypeVar("M", bound=BaseModel)

_FastLoader: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Faster by far where the library was built with it; the same nodes."""
_DEEPEST: Final = 40


def load_located(
    path: Path,
    choose: Callable[[dict[str, Any]], type[M] | Finding],
    check: Callable[[M], Iterable[Finding]] | None = None,
) -> M:
    """Reads `path` as the model that `choose` names for its plain content, unless it finds that there is none.

    `check` adds findings that only the whole document shows. Types are strict: a quoted number is no number and a bare
    one no string. Raises ConfigError with all problems.
    """
    root = _compose(path)
    _refuse_duplicates(path, root)
    text = _json(path, root)
    model = choose(json.loads(text))
    if isinstance(model, tuple):
        raise _located_error(path, root, (model,))
    try:
        document = model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise ConfigError(tuple(_problem(path, root, model, detail) for detail in _causes(error.errors()))) from error
    findings = tuple(check(document)) if check else ()
    if findings:
        raise _located_error(path, root, findings)
    return document


def _located_error(path: Path, root: yaml.Node, findings: Iterable[Finding]) -> ConfigError:
    return ConfigError(tuple(Problem(path, _line(root, loc), _key(loc), text) for loc, text in findings))


def _compose(path: Path) -> yaml.Node:
    try:
        text = path.read_text(encoding="utf-8")
        _refuse_depth(path, text)
        root = yaml.compose(text, Loader=_FastLoader)
    except FileNotFoundError:
        raise ConfigError((Problem(path, 0, "", "a readable file, found none"),)) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError((Problem(path, 0, "", f"a readable UTF-8 file: {error}"),)) from error
    except yaml.YAMLError as error:
        raise _not_yaml(path, _in_words_of_python(text, error)) from error
    if not isinstance(root, yaml.MappingNode):
        raise ConfigError((Problem(path, 1, "", "a mapping of keys to values"),))
    return root


def _refuse_depth(path: Path, text: str) -> None:
    """Before nodes are made of it, which goes one call deeper with every level."""
    depth = 0
    for event in yaml.parse(text, Loader=_FastLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST:
            line = event.start_mark.line + 1 if event.start_mark else 0
            raise ConfigError((Problem(path, line, "", f"at most {_DEEPEST} levels"),))


def _in_words_of_python(text: str, error: yaml.YAMLError) -> yaml.YAMLError:
    """The flaw as the slower reader tells it: the other one names a line after the last where a file just ends."""
    try:
        for _ in yaml.parse(text, Loader=yaml.SafeLoader):
            pass
    except yaml.YAMLError as told:
        return told
    return error


def _not_yaml(path: Path, error: yaml.YAMLError) -> ConfigError:
    if not isinstance(error, yaml.MarkedYAMLError):
        return ConfigError((Problem(path, 0, "", f"valid YAML: {error}"),))
    line = error.problem_mark.line + 1 if error.problem_mark else 0
    return ConfigError((Problem(path, line, "", f"valid YAML: {error.problem}"),))


def _json(path: Path, root: yaml.Node) -> str:
    """The document as JSON text: pydantic then reads lists, paths and enumerations in its strict mode too."""
    try:
        return json.dumps(yaml.SafeLoader("").construct_document(root), default=str)
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(path, error) from error
    except (TypeError, ValueError) as error:
        raise ConfigError((Problem(path, 1, "", f"plain keys and values: {error}"),)) from error


def _refuse_duplicates(path: Path, root: yaml.Node) -> None:
    """YAML itself lets the last of two equal keys win, silently."""
    problems: list[Problem] = []
    waiting, visited = [root], set[int]()
    while waiting:
        node = waiting.pop()
        if id(node) in visited:  # an alias, perhaps of a node around itself
            continue
        visited.add(id(node))
        if isinstance(node, yaml.SequenceNode):
            waiting.extend(node.value)
        elif isinstance(node, yaml.MappingNode):
            seen: set[str] = set()
            for key, value in node.value:
                if str(key.value) in seen:
                    problems.append(Problem(path, key.start_mark.line + 1, str(key.value), "each key once"))
                seen.add(str(key.value))
                waiting.append(value)
    if problems:
        raise ConfigError(tuple(problems))


def _causes(details: list[ErrorDetails]) -> list[ErrorDetails]:
    """Without what only follows from others: a list whose items are wrong is also reported as too short."""
    places = [detail["loc"] for detail in details]
    return [
        detail
        for detail in details
        if detail["type"] != "too_short"
        or not any(len(place) > len(detail["loc"]) and place[: len(detail["loc"])] == detail["loc"] for place in places)
    ]


def _problem(path: Path, root: yaml.Node, model: type[BaseModel], detail: ErrorDetails) -> Problem:
    loc = detail["loc"]
    context = detail.get("ctx", {})
    if detail["type"] == "union_tag_invalid":
        loc = (*loc, context["discriminator"].strip("'"))
        text = f"Input should be one of {context['expected_tags']}, found {context['tag']!r}"
    elif detail["type"] == "union_tag_not_found":
        loc = (*loc, context["discriminator"].strip("'"))
        text = "this key is required"
    elif detail["type"] == "extra_forbidden":
        text = _unknown_key(model, loc)
    elif detail["type"] == "missing":
        text = "this key is required"
    else:
        text = f"{detail['msg']}, found {_shown(detail['input'])}"
    return Problem(path, _line(root, loc), _key(_without_tags(root, loc)), text)


def _without_tags(root: yaml.Node, loc: Loc) -> Loc:
    """The path as the file has it: where several models may stand, pydantic puts the chosen one's tag into it."""
    node: yaml.Node | None = root
    kept: list[int | str] = []
    for part in loc[:-1]:
        child = _child(node, part) if node is not None else None
        if child is None and isinstance(node, yaml.MappingNode):
            continue
        kept.append(part)
        node = child
    return (*kept, *loc[-1:])


def _child(node: yaml.Node, part: int | str) -> yaml.Node | None:
    if isinstance(node, yaml.MappingNode):
        return next((value for key, value in node.value if key.value == str(part)), None)
    if isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
        found: yaml.Node = node.value[part]
        return found
    return None


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _unknown_key(model: type[BaseModel], loc: Loc) -> str:
    known = _keys_at(model, loc[:-1])
    near = difflib.get_close_matches(str(loc[-1]), known, n=1)
    hint = f" (did you mean {near[0]!r}?)" if near else ""
    return f"unknown key{hint}, expected one of {', '.join(known)}" if known else "unknown key"


def _keys_at(model: type[BaseModel], loc: Loc) -> list[str]:
    """Keys that the model knows at `loc`; none when the place is a union that the path does not decide."""
    here: Any = model
    for part in loc:
        here = _plain(here)
        if get_origin(here) in (Union, types.UnionType):
            here = next((member for member in get_args(here) if _is_tagged(member, part)), None)
        elif isinstance(here, type) and issubclass(here, BaseModel) and part in here.model_fields:
            here = here.model_fields[str(part)].annotation
        elif get_args(here):
            here = get_args(here)[-1] if get_origin(here) is dict else get_args(here)[0]
    here = _plain(here)
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []


def _is_tagged(member: Any, tag: int | str) -> bool:
    fields = member.model_fields.values() if isinstance(member, type) and issubclass(member, BaseModel) else ()
    return any(tag in get_args(field.annotation) for field in fields if get_origin(field.annotation) is Literal)


def _plain(annotation: Any) -> Any:
    """Strips Annotated and Optional."""
    while True:
        if get_origin(annotation) is Annotated:
            annotation = get_args(annotation)[0]
        elif get_origin(annotation) in (Union, types.UnionType):
            rest = [arg for arg in get_args(annotation) if arg is not type(None)]
            if len(rest) != 1:
                return annotation
            annotation = rest[0]
        else:
            return annotation


def _line(root: yaml.Node, loc: Loc) -> int:
    """Line of the deepest node on the path; parts that the file lacks (missing keys, union tags) are skipped."""
    node, line = root, root.start_mark.line
    for part in loc:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is not None:
                line, node = found[0].start_mark.line, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            line = node.start_mark.line
    return line + 1


def _key(loc: Loc) -> str:
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text
