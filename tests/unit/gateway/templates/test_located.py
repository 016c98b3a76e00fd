"""A wrong file is refused with file, line, key and what was expected."""

from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.templates.library import Library, load_meter_file

GOOD = """\
vendor: V
model: M
medium: electricity
proven: simulator
sources:
  - {reference: r, covers: c}
transports: {}
registers:
  - channel: energy_import_total
    function: 3
    address: 0
    type: u32
    scale: "0.01"
    unit: kWh
    digits: 8
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    file = tmp_path / "v-m.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_meter_file(file)
    assert all(problem.file == file for problem in caught.value.problems)
    assert all(line.startswith(str(file)) for line in str(caught.value).splitlines())
    return [f"{problem.line} {problem.key}: {problem.expected}" for problem in caught.value.problems]


def test_the_good_one_is_good(tmp_path: Path) -> None:
    file = tmp_path / "v-m.yaml"
    file.write_text(GOOD, encoding="utf-8")
    register = load_meter_file(file).registers[0]
    assert register.factor == 10
    assert register.modulus == 10**9


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (
            "    digits: 8",
            "    digit: 8",
            "15 registers[0].digit: unknown key (did you mean 'digits'?), expected one of",
        ),
        ("vendor: V", "vendro: V", "1 vendro: unknown key (did you mean 'vendor'?)"),
        (
            "medium: electricity",
            "medium: gas",
            "3 medium: Input should be 'electricity', 'water' or 'heat', found 'gas'",
        ),
        ("address: 0", "address: 65536", "11 registers[0].address: Input should be less than or equal to 65535"),
        ("address: 0", 'address: "0"', "11 registers[0].address: Input should be a valid integer, found '0'"),
        ("function: 3", "function: 6", "10 registers[0].function: Input should be 1, 2, 3 or 4, found 6"),
        ('scale: "0.01"', "scale: 0.01", "13 registers[0].scale: Input should be a valid string, found 0.01"),
        ('scale: "0.01"', 'scale: "a"', "13 registers[0].scale: Value error, expected an exact decimal number"),
        ('scale: "0.01"', 'scale: "-1"', "13 registers[0].scale: Value error, expected a decimal number above 0"),
        ("energy_import_total", "energy", "9 registers[0].channel: Value error, expected the code of a quantity"),
        ("unit: kWh", "unit: BTU", "14 registers[0].unit: Value error, expected one of Wh, kWh"),
        ("unit: kWh", "unit: V", "9 registers[0]: Value error, expected a unit that converts to Wh"),
        ('scale: "0.01"', 'scale: "0.00001"', "9 registers[0]: Value error, expected a scale that gives whole Wh"),
    ],
)
def test_each_mistake_is_located(tmp_path: Path, old: str, new: str, expected: str) -> None:
    assert any(one.startswith(expected) for one in problems(tmp_path, GOOD.replace(old, new)))


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("function: 3", "function: 9").replace("medium: electricity", "medium: gas"))
    assert len(found) == 2


def test_a_missing_key_is_located_at_its_parent(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD.replace("    unit: kWh\n", "")) == ["9 registers[0].unit: this key is required"]


def test_a_repeated_key_is_refused(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD + "vendor: W\n") == ["16 vendor: each key once"]


def test_a_repeated_channel_is_refused(tmp_path: Path) -> None:
    again = GOOD[GOOD.index("  - channel") :]
    assert problems(tmp_path, GOOD + again) == [
        "16 registers[1].channel: each channel once, energy_import_total is repeated"
    ]


def test_a_value_longer_than_a_read_is_refused(tmp_path: Path) -> None:
    found = problems(tmp_path, GOOD.replace("transports: {}", "transports: {}\nlimits: {max_registers: 1}"))
    assert found == ["13 registers[0].type: a value of at most 1 registers (limits.max_registers)"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: [1", "valid YAML"),
        ("- 1", "a mapping"),
        ("", "a mapping"),
        ("a: !!python/name:os.system x", "valid YAML"),
        ("a: &x [*x]", "plain keys"),
        ("a: " + "[" * 100_000, "at most 40 levels"),
        ("2024-01-01: 1", "plain keys"),
    ],
)
def test_what_is_no_document_is_refused(tmp_path: Path, text: str, expected: str) -> None:
    assert expected in problems(tmp_path, text)[0]


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.yaml:0: .*a readable file"):
        Library(tmp_path).meter("nothing")
