"""Every code that can reach a page has its words."""

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_args

import pytest

from cloud.devices.records import UnclaimedReason
from cloud.ingest import writer
from cloud.kit import errors, i18n, problems
from cloud.kit.jobs import Handler
from cloud.web import money_reason_words, parking_reason_words, reason_words, thing_words, words
from cloud.worker import all_handlers
from gateway.contract.errors import Reason
from gateway.contract.messages import Action, GapReason, Quality
from gateway.contract.quantities import BY_CODE
from gateway.contract.topics import Up

_CLOUD = Path(words.__file__).resolve().parents[1]
_SQL = "\n".join(path.read_text("utf-8") for path in sorted((_CLOUD / "migrations").glob("*.sql")))
_RAISED = {name for name in vars(errors) if name[0].isupper()} | {"Unbillable", "LedgerDoesNotBalance"}


@cache
def _raised_codes() -> frozenset[str]:
    """First arguments of the errors that services raise; what only the command line raises reaches no page.

    Asked in tests only: not every worker that collects them shall read the whole cloud.
    """
    return frozenset(_first_arguments())


def _first_arguments() -> Iterator[str]:
    for path in _CLOUD.rglob("*.py"):
        if path.name == "commands.py" or "commands" in path.parts:
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and _name(node.func) in _RAISED and node.args:
                code = node.args[0]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    yield code.value


def _name(function: ast.expr) -> str:
    return str(getattr(function, "id", getattr(function, "attr", "")))


def _allowed(table: str, column: str) -> list[str]:
    """The values that a CHECK lets a column have."""
    found = re.search(rf"CREATE TABLE {table} \(.*?CHECK \({column} IN \(([^)]*)\)", _SQL, re.DOTALL)
    assert found is not None
    return re.findall(r"'([^']+)'", found[1])


def test_the_scan_finds_the_errors() -> None:
    assert {"missing-reading", "amount-changed", "csrf", "bad-cursor"} <= _raised_codes()


def test_every_error_has_words() -> None:
    codes = {*_raised_codes(), *(f"unknown-{thing}" for thing in ("unit", "person", "building"))}
    assert codes - dict(words.choices("reason")).keys() == set()


@pytest.mark.parametrize(
    ("family", "codes"),
    [
        ("reason", {*get_args(Reason), writer.UNKNOWN_GATEWAY, writer.NOT_STORABLE, writer.INTERNAL_ERROR}),
        ("reason", {*get_args(UnclaimedReason), *_allowed("unclaimed_passage", "reason")}),
        ("reason", set(_allowed("meter_exception", "rule"))),
        ("reason", {*GapReason, *_allowed("reading_gap", "reason")}),
        ("quality", {str(flag.value) for flag in Quality}),
        ("content", {*Up, *_allowed("reading_gap", "content")}),
        ("reason", {*problems._CODES.values(), "invalid-input", "internal"}),
        ("command-state", set(_allowed("command", "state"))),
        ("configuration-state", set(_allowed("gateway_configuration", "state"))),
        ("command", {action.value for action in Action}),
        ("table", set(re.findall(r"CALL gm\.keep_audit\('(\w+)'", _SQL))),
    ],
)
def test_every_code_has_words(family: str, codes: set[str]) -> None:
    assert codes - dict(words.choices(family)).keys() == set()


def test_each_reason_stands_in_one_room() -> None:
    rooms = reason_words.REASONS, money_reason_words.MONEY_REASONS, parking_reason_words.PARKING_REASONS
    assert len(words.choices("reason")) == sum(len(room) for room in rooms)


def test_reasons_are_sentences_without_values() -> None:
    """Pages say them as they are; what is particular stands in the detail beside them."""
    assert [code for code, said in words.choices("reason") if "%(" in said] == []


def test_every_job_has_a_name() -> None:
    found: dict[str, Handler] = all_handlers()
    assert found.keys() - dict(words.choices("job")).keys() == set()


def test_a_code_is_said_in_the_language_in_use() -> None:
    with i18n.speaking(i18n.load_catalogues()["zh-CN"]):
        assert words.word("missing-reading", "reason") == "表计在账期起点或终点没有读数"
        assert words.word("done", "command-state") == "已执行"


def test_an_unknown_code_falls_back_to_its_detail() -> None:
    assert words.word("from-the-future", "reason", "Something new happened") == "Something new happened"
    assert words.word("from-the-future", "reason") == "from-the-future"


def test_flags_are_said_one_by_one() -> None:
    with i18n.speaking(i18n.load_catalogues()["en"]):
        assert words.flags(0) == []
        assert words.flags(Quality.STALE | Quality.MANUAL | 128) == ["old answer repeated", "by hand", "128"]


def test_every_register_and_momentary_value_has_words() -> None:
    assert set(thing_words.CHANNELS) == set(BY_CODE)


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("user:boss", "boss"),
        ("system:parking", "系统"),
        ("command-line:root", "系统管理 (root)"),
        ("later", "later"),
        (None, "–"),
    ],
)
def test_who_did_it_is_said_without_codes(kept: str | None, said: str) -> None:
    with i18n.speaking(i18n.load_catalogues()["zh-CN"]):
        assert words.actor(kept) == said
