"""Promise 1: "Integers or Decimal end to end: no float column, no float in JSON (amounts are strings in JSON)." """

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from psycopg import sql

from cloud.kit.db import SYSTEM, Database
from tests.acceptance.money.history import everything_happens
from tests.acceptance.money.office import Office
from tests.integration.app import People

FLOATS = ["float4", "float8", "money", "_float4", "_float8", "_money"]
MONEY_TAGS = {"billing", "ledger", "payments", "tariffs", "parking"}
TEXT_ONLY = {
    "amount", "total", "price", "open", "principal", "late_fee", "late_fee_open", "part", "rate", "balance", "debit",
    "credit", "surplus", "carry", "quantity", "share",
}  # fmt: skip
"""Keys under which a number would be money or what money is computed from."""
NEEDED: dict[str, str] = {
    "from": "2026-01-01", "to": "2026-12-31", "as_of": "2026-03-01", "principal": "100.37", "due_on": "2026-01-01",
    "through": "2026-02-03", "daily_rate": "0.0005",
}  # fmt: skip
CODE = Path(__file__).parents[3] / "cloud"
MONEY_CODE = [
    *(
        file
        for room in ("billing", "payments", "prepaid", "tariffs", "parking")
        for file in sorted((CODE / room).rglob("*.py"))
    ),
    *(CODE / "kit" / name for name in ("money.py", "amounts.py")),
]


async def test_no_column_of_any_table_or_view_is_a_float(owner_db: Database) -> None:
    async with owner_db.transaction(SYSTEM) as conn:
        columns = await (
            await conn.execute(
                """SELECT table_schema || '.' || table_name AS of, column_name AS name, udt_name AS type
                   FROM information_schema.columns WHERE table_schema IN ('public', 'store', 'gm')"""
            )
        ).fetchall()
        unseen = await (await conn.execute("SELECT FROM pg_matviews")).fetchall()
    assert {"public.bill", "public.bill_line", "public.posting", "store.reading"} <= {one["of"] for one in columns}
    assert [one for one in columns if one["type"] in FLOATS] == []
    assert unseen == [], "information_schema does not list these"


def _no_float(text: str) -> float:
    raise AssertionError(f"{text} is a number with a point: a reader makes a float of it")


def _walk(value: object, where: str) -> Iterator[str]:
    """Where money stands as a number."""
    if isinstance(value, dict):
        for key, one in value.items():
            if key in TEXT_ONLY and isinstance(one, int) and not isinstance(one, bool):
                yield f"{where}.{key}"
            yield from _walk(one, f"{where}.{key}")
    elif isinstance(value, list):
        for one in value:
            yield from _walk(one, f"{where}[]")


async def test_no_float_is_in_any_json_answer_about_money(office: Office, app: FastAPI, people: People) -> None:
    ids = (await everything_happens(office)).ids
    merchant = await office.post(
        "parking-merchants", project_id=office.site.project.id, name="Noodles", settlement="monthly"
    )
    shop = await people.merchant(office.site.project.id, merchant["id"])
    answers, wrong = {}, []
    for path, operation in _reads_of_money(app):
        required = [one["name"] for one in operation.get("parameters", ()) if one["in"] == "query" and one["required"]]
        known = NEEDED | {name: str(one) for name, one in ids.items()}
        if not {*required, *re.findall(r"{(\w+)}", path)} <= known.keys():
            continue
        answer = await office.client.get(
            path.format(**ids),
            params={name: known[name] for name in required},
            headers=shop if path.startswith("/api/v1/shop") else office.auth,
        )
        assert answer.status_code == 200, (path, answer.text)
        if answer.headers["Content-Type"].startswith("application/json"):
            answers[path] = json.loads(answer.text, parse_float=_no_float)
            # The inputs of the engine are integers of the smallest unit; they are not shown to be multiplied.
            shown = {key: one for key, one in answers[path].items() if key != "inputs"}
            wrong += list(_walk(shown, path))
    assert wrong == []
    empty = sorted(path for path, answer in answers.items() if answer.get("items") == [])
    assert len(answers) - len(empty) >= 25, f"answers without anything in them: {empty}"
    bill = answers["/api/v1/bills/{bill_id}/explanation"]
    assert bill["bill"]["total"] == {"amount": "417.06", "currency": "CNY"}


def _reads_of_money(app: FastAPI) -> list[tuple[str, dict[str, Any]]]:
    return [
        (path, methods["get"])
        for path, methods in app.openapi()["paths"].items()
        # Streams of what happens now have no end; the schemas below tell what is in them.
        if "get" in methods and set(methods["get"].get("tags", ())) & MONEY_TAGS and "/live/" not in path
    ]


def test_no_schema_of_money_has_a_number_that_is_not_an_integer(app: FastAPI) -> None:
    document = app.openapi()
    schemas: dict[str, Any] = document["components"]["schemas"]
    seen: set[str] = set()
    found: list[str] = []
    waiting = [
        (f"{method} {path}", operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if set(operation.get("tags", ())) & {*MONEY_TAGS, "prepaid"}
    ]
    while waiting:
        where, schema = waiting.pop()
        text = json.dumps(schema)
        found += [where] * text.count('"type": "number"')
        for name in set(re.findall(r"#/components/schemas/(\w+)", text)) - seen:
            seen.add(name)
            waiting.append((name, schemas[name]))
    assert found == []
    assert {"MoneyOut", "BillDetailOut", "RecordedPaymentOut", "AgreementIn"} <= seen


async def test_no_float_is_in_any_json_that_the_database_keeps(office: Office, owner_db: Database) -> None:
    await everything_happens(office)
    seen = 0
    async with owner_db.transaction(SYSTEM) as conn:
        columns = await (
            await conn.execute(
                """SELECT table_name AS of, column_name AS name FROM information_schema.columns
                   WHERE table_schema = 'public' AND data_type = 'jsonb'"""
            )
        ).fetchall()
        assert {"bill", "adjustment", "late_fee", "bill_line", "tariff_version"} <= {one["of"] for one in columns}
        for one in columns:
            query = sql.SQL("SELECT {name}::text AS document FROM {of} WHERE {name} IS NOT NULL")
            names = {"name": sql.Identifier(one["name"]), "of": sql.Identifier(one["of"])}
            if one["of"] == "audit_entry":
                continue  # rows of tables as PostgreSQL writes them: numeric columns, exact in the text
            for row in await (await conn.execute(query.format(**names))).fetchall():
                json.loads(row["document"], parse_float=_no_float)
                seen += 1
    assert seen > 40


def test_no_float_is_in_the_code_that_computes_money() -> None:
    assert len(MONEY_CODE) > 100
    assert [place for file in MONEY_CODE for place in _floats(file)] == []


def _seconds(node: ast.AST) -> Iterator[ast.AST]:
    """What a name says is seconds of waiting, which nobody pays: arguments, their defaults, and names of that kind."""
    if isinstance(node, ast.Call):
        yield from (word.value for word in node.keywords if (word.arg or "").endswith("_s"))
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        if node.target.id.lower().endswith("_s"):
            yield from (part for part in (node.annotation, node.value) if part is not None)
    elif isinstance(node, ast.arguments):
        for names, values in ((node.kwonlyargs, node.kw_defaults), ((*node.posonlyargs, *node.args), node.defaults)):
            padded = [*[None] * (len(names) - len(values)), *values]
            for name, value in zip(names, padded, strict=True):
                if name.arg.endswith("_s"):
                    yield from (part for part in (name.annotation, value) if part is not None)


def _floats(file: Path) -> Iterator[str]:
    tree = ast.parse(file.read_text())
    seconds = {id(part) for node in ast.walk(tree) for part in _seconds(node)}
    for node in ast.walk(tree):
        if not isinstance(node, ast.expr):
            continue
        literal = isinstance(node, ast.Constant) and isinstance(node.value, float) and id(node) not in seconds
        named = isinstance(node, ast.Name) and node.id == "float" and id(node) not in seconds
        if literal or named or (isinstance(node, ast.Attribute) and node.attr.startswith("float")):
            yield f"{file.name}:{node.lineno}"
