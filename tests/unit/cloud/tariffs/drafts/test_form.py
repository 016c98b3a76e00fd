"""The form of a tariff says all that the files say, and its buttons keep the tables whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.kit.yaml_files import load_yaml, parse_yaml
from cloud.tariffs.drafts.form import PREFIX, document_of, read_fields, shape
from cloud.tariffs.drafts.form_actions import act
from cloud.tariffs.files.checking import check
from cloud.tariffs.model.tariff import TariffContent, content_hash

FILES = sorted((Path(__file__).parents[5] / "firmware-config/tariffs").glob("*.yaml"))


def _fields(node: Any, name: str = "t") -> Iterator[tuple[str, str]]:
    """As a browser sends the form."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield from _fields(value, f"{name}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _fields(value, f"{name}.{number}")
    else:
        yield name, str(node).lower() if isinstance(node, bool) else str(node)


def _document(path: Path) -> dict[str, Any]:
    found = parse_yaml(path.read_text("utf-8"), path).content
    assert isinstance(found, dict)
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_file_goes_through_the_form(path: Path) -> None:
    shaped = shape(_document(path))
    assert shaped is not None
    content, problems = check(document_of(read_fields(list(_fields(shaped)))))
    assert problems == ()
    assert content is not None
    assert content_hash(content) == content_hash(load_yaml(path, TariffContent))


_ACTIONS = [
    "add-tier", "remove-tier", "add-season", "remove-season:0", "remove-season:1", "add-period", "remove-period:1",
    "add-hours", "remove-hours:0", "add-single", "remove-single", "add-household", "remove-household", "add-flat",
    "remove-flat", "add-component:energy", "add-component:tax", "add-component:power_factor", "remove-component:0",
    "add-step:1", "remove-step:1", "nothing", "remove-tier:9",
]  # fmt: skip


@given(st.sampled_from(FILES), st.lists(st.sampled_from(_ACTIONS), max_size=12))
def test_buttons_keep_the_tables_whole(path: Path, actions: list[str]) -> None:
    shaped = shape(_document(path))
    assert shaped is not None
    for action in actions:
        act(shaped, action)
    tiers = len(shaped.get("tiers", {}).get("bounds", [])) + 1
    periods = len(shaped.get("periods", {}).get("codes", [])) or 1
    seasons = len(shaped.get("seasons", [])) or 1
    for part in shaped["components"]:
        if part["kind"] == "energy":
            assert len(part["cells"]) == seasons
            assert {len(table) for table in part["cells"]} == {periods}
            assert {len(row) for table in part["cells"] for row in table} == {tiers}
    read = read_fields(list(_fields(shaped)))
    assert document_of(read) == document_of(shaped)


def test_what_a_form_cannot_say_is_left_to_the_yaml_tab() -> None:
    document = _document(FILES[0])
    assert shape(document | {"colour": "red"}) is not None  # a plain key more is kept
    assert shape(document | {"components": "none"}) is None
    assert shape(document | {"components": [{"kind": "energy", "code": "e", "prices": {"noon": ["1"]}}]}) is None
    assert PREFIX == "t."
