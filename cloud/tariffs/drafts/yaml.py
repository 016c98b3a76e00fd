"""A tariff as YAML text and back, for the tab that can say everything."""

from pathlib import Path

from cloud.kit.yaml_files import parse_yaml, yaml_text
from cloud.tariffs.files.checking import Document

MOST_CHARACTERS = 200_000


def to_yaml(document: Document) -> str:
    """The text of a document; reading it gives the same document."""
    return yaml_text(document)


def from_yaml(text: str) -> Document:
    """The document of a text. Raises InvalidFile naming the line."""
    content = parse_yaml(text, Path("YAML")).content
    assert isinstance(content, dict)
    return content
