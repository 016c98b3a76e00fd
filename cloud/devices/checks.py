"""Whether a configuration may be sent to a gateway: what its schemas and the limits of the wire can tell.

The gateway has the last word: it knows its templates, its secrets and what else is on its lines.
"""

import json
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

import cloud
from cloud.kit.errors import InvalidInput
from cloud.kit.yaml_files import FileProblem, InvalidFile, YamlText, parse_yaml
from gateway.contract import WIRE_VERSION, codec, limits
from gateway.contract.configuration import Configuration
from gateway.contract.errors import ContractError

_SCHEMAS: Final = Path(cloud.__file__).parents[1] / "firmware-config" / "schema"
_CONFIGURATION: Final = "configuration.schema.json"
_TEMPLATE: Final = "meter-template.schema.json"
_SHOWN: Final = 20
"""Problems that are told at once."""
_LONGEST: Final = 200
_ROOM: Final = 1_000
"""Bytes that addresses, names and the signature of a configuration take at most."""


def check_configuration(site: str, templates: Mapping[str, str]) -> None:
    """Raises InvalidInput (`bad-configuration`) with every problem that can be seen from here. Takes a while."""
    # First, so that what follows has an end: no message is larger.
    _check_size(site, templates)
    problems = list(_problems(site, Path("site.yaml"), _CONFIGURATION))
    for template, text in templates.items():
        problems += _problems(text, Path(f"templates/{template}.yaml"), _TEMPLATE)
    if problems:
        raise InvalidInput("bad-configuration", "\n".join(map(str, problems[:_SHOWN])), field="site")


def _problems(text: str, name: Path, schema: str) -> Iterator[FileProblem]:
    try:
        read = parse_yaml(text, name)
    except InvalidFile as error:
        yield from error.problems
        return
    for found in _validator(schema).iter_errors(read.content):
        yield from _located(read, found)


@cache
def _validator(name: str) -> Draft202012Validator:
    return Draft202012Validator(json.loads((_SCHEMAS / name).read_text("utf-8")))


def _located(read: YamlText, error: ValidationError) -> Iterator[FileProblem]:
    """What is wrong; of a choice between kinds, with the kind that was meant: the one whose name was given."""
    if not error.context:
        yield read.problem(list(error.absolute_path), error.message[:_LONGEST])
        return
    branches: dict[Any, list[ValidationError]] = {}
    for one in error.context:
        branches.setdefault(one.relative_schema_path[0], []).append(one)
    named = [found for found in branches.values() if not any(one.validator == "const" for one in found)]
    if named:
        for one in min(named, key=len):
            yield from _located(read, one)
        return
    names = [one for one in error.context if one.validator == "const"]
    expected = ", ".join(str(one.validator_value) for one in names)
    yield read.problem(list(names[0].absolute_path), f"one of {expected}")


def _check_size(site: str, templates: Mapping[str, str]) -> None:
    """By the contract's own codec, with everything else as long as it may be: the downlink never fails on it."""
    code, text = "x" * limits.MAX_CODE_CHARS, "x" * limits.MAX_TEXT_CHARS
    whole = Configuration(
        WIRE_VERSION, limits.MAX_VALUE, code, code, limits.MAX_TIME_MS, site, dict(templates), limits.MAX_CONFIRM_S,
        text, code, "x" * 128,
    )  # fmt: skip
    try:
        payload = codec.encode_configuration(whole)
        codec.decode_configuration(payload)
    except ContractError as error:
        why = "too large for a message" if error.reason == "too-large" else "no gateway takes it"
        raise InvalidInput("bad-configuration", f"{why}: {error.detail}", field="site") from error
    if len(payload) > limits.MAX_WIRE_BYTES - _ROOM:
        raise InvalidInput("bad-configuration", f"too large for a message: {len(payload)} bytes", field="site")
