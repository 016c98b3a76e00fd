"""YAML files: every problem names the file, the line, the key and what was expected."""

from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict

from cloud.kit.yaml_files import InvalidFile, load_yaml, parse_yaml


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    count: int
    name: str = ""


class Outer(BaseModel):
    model_config = ConfigDict(extra="forbid")

    title: str
    parts: list[Inner] = []


def _load(tmp_path: Path, text: str) -> Outer:
    file = tmp_path / "a.yaml"
    file.write_text(text, "utf-8")
    return load_yaml(file, Outer)


def test_reads_what_fits(tmp_path: Path) -> None:
    assert _load(tmp_path, "title: x\nparts:\n  - {count: 2, name: 'y'}\n").parts[0].count == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title: x\ncolour: red\n", "a.yaml:2: colour: unknown key"),
        ("parts: []\n", "a.yaml:1: title: this key is required"),
        ("title: 5\n", "a.yaml:1: title: Input should be a valid string, found 5"),
        (
            "title: x\nparts:\n  - count: 1\n  - count: many\n",
            "a.yaml:4: parts[1].count: Input should be a valid integer",
        ),
        ("title: x\ntitle: y\n", "a.yaml:2: title: each key once"),
        ("title: [x\n", "a.yaml:2: valid YAML"),
        ("- x\n", "a.yaml:1: a mapping of keys to values"),
        ("", "a.yaml:1: a mapping of keys to values"),
    ],
)
def test_every_problem_says_where_and_what(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InvalidFile) as error:
        _load(tmp_path, text)
    assert message in str(error.value)


def test_all_problems_at_once(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile) as error:
        _load(tmp_path, "colour: red\nparts:\n  - {}\n")
    assert [problem.line for problem in error.value.problems] == [1, 3, 1]


def test_a_missing_or_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(InvalidFile, match="a readable file, found none"):
        load_yaml(tmp_path / "none.yaml", Outer)
    (tmp_path / "latin.yaml").write_bytes(b"title: \xe9\n")
    with pytest.raises(InvalidFile, match="a readable UTF-8 file"):
        load_yaml(tmp_path / "latin.yaml", Outer)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: &x [1]\nb: *x\n", "t:2: no references"),
        ("a: " + "[" * 100_000, "t:1: at most 40 levels"),
        ("a: [", "t:2: valid YAML"),
        ("a: 1\na: 2\n", "t:2: a: each key once"),
        ("- 1", "t:1: a mapping of keys to values"),
        ("a: !!python/name:os.system x", "t:1: valid YAML"),
        ("a: 2026-13-45", "t:1: plain keys and values"),
        ("a: \ud800", "t: valid YAML"),
        ("a: \x01", "t: valid YAML"),
        ("? [1]\n: 2", "t:1: "),
        ("a: " + "9" * 10_000, "t:1: plain keys and values"),
    ],
)
def test_text_from_elsewhere_is_refused_before_it_can_harm(text: str, expected: str) -> None:
    with pytest.raises(InvalidFile) as caught:
        parse_yaml(text, Path("t"))
    assert str(caught.value).startswith(expected)


def test_places_in_text_from_elsewhere_have_lines() -> None:
    read = parse_yaml("lines:\n- name: a\n  port: 1\nday: 2026-01-01\n", Path("t"))
    assert read.content == {"lines": [{"name": "a", "port": 1}], "day": "2026-01-01"}
    assert str(read.problem(("lines", 0, "port"), "text")) == "t:3: lines[0].port: text"
    assert str(read.problem(("lines", 0, "host"), "there")) == "t:2: lines[0].host: there"
