"""A tariff as YAML text and back, for the tab that can say everything."""

from pathlib import Path

import yaml

from cloud.kit.yaml_files import parse_yaml
from cloud.tariffs.files.checking import Document

MOST_CHARACTERS = 200_000


class _Plain(yaml.SafeDumper):
    """Writes equal parts out each time: references are refused when they are read."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002 - the name is that of the library
        """Always."""
        return True


def to_yaml(document: Document) -> str:
    """The text of a document; reading it gives the same document."""
    return yaml.dump(document, Dumper=_Plain, allow_unicode=True, sort_keys=False, default_flow_style=None, width=110)


def from_yaml(text: str) -> Document:
    """The document of a text. Raises InvalidFile naming the line."""
    content = parse_yaml(text, Path("YAML")).content
    assert isinstance(content, dict)
    return content
