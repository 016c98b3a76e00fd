"""Every reason why something is booked has a name for people and for vouchers, whoever books it."""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

from cloud.billing.ledger.journals import KINDS
from cloud.billing.records import BillKind
from cloud.billing.vouchers.making import SUMMARIES
from cloud.kit import i18n
from cloud.web import words

_CLOUD = Path(words.__file__).resolve().parents[1]


def _written() -> Iterator[str]:
    """Kinds that are named where a journal is made."""
    for path in _CLOUD.rglob("*.py"):
        text = path.read_text("utf-8")
        for node in ast.walk(ast.parse(text)) if "Journal(" in text else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Journal":
                kind = node.args[1]
                if isinstance(kind, ast.Constant):
                    yield str(kind.value)


def test_every_kind_has_a_name_and_a_summary() -> None:
    written = set(_written())
    assert written >= {"payment", "set-off", "refund", "deposit", "credit_held"}
    # Those that come as variables are checked by mypy: `Journal.kind` is a JournalKind.
    assert {*written, *get_args(BillKind), "parking"} == set(KINDS)
    assert set(SUMMARIES) == set(KINDS)
    assert {code for code, _ in words.choices("journal-kind")} == set(KINDS)
    assert {code for code, _ in words.choices("held-kind")} <= set(KINDS)


def test_only_the_ledger_writes_journals() -> None:
    writing = [path.name for path in _CLOUD.rglob("*.py") if "INTO journal " in path.read_text("utf-8")]
    assert writing == ["journals.py"]


def test_names_are_in_both_languages() -> None:
    catalogues = i18n.load_catalogues()
    said = {}
    for language in ("en", "zh-CN"):
        with i18n.speaking(catalogues[language]):
            said[language] = dict(words.choices("journal-kind"))
    assert [kind for kind in KINDS if said["en"][kind] == said["zh-CN"][kind]] == []
