"""The operator sees into the outbox while the gateway works with it, and what he asks for reaches the gateway."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from gateway.cli import app
from gateway.contract import codec
from gateway.contract.messages import CommandResult, CommandState, Point
from gateway.contract.topics import Up
from gateway.outbox import Outbox, Shed
from tests.unit.gateway.outbox.bodies import START, body

RUNNER = CliRunner()
ALL = (Up.READINGS, Up.RESULTS, Up.HEALTH, Up.PASSAGES, Up.GAPS)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "outbox.sqlite"


@pytest.fixture
async def outbox(path: Path) -> AsyncIterator[Outbox]:
    """A running outbox with a register, diagnostics, two refused batches and a result."""
    box = Outbox.open(path, 1 << 24, clock=lambda: START)
    await box.put(Up.READINGS, body(200))
    await box.put(Up.READINGS, body(20, "voltage_l1"), shed=Shed.DIAGNOSTICS)
    refused = [await box.put(Up.READINGS, body(n, device=f"x-{n}")) for n in (1, 2)]
    await box.park([(seq, "not-storable: no") for seq in refused])
    step = CommandResult("00000000-0000-4000-8000-000000000001", CommandState.DONE, START, "opened")
    await box.put(Up.RESULTS, codec.encode_body([step]))
    yield box
    box.close()


def run(path: Path, *arguments: str) -> Result:
    return RUNNER.invoke(app, ["queue", *arguments, "--outbox", str(path)])


def answer(path: Path, *arguments: str, code: int = 0) -> Any:
    result = run(path, *arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


async def test_summary_counts_by_kind_class_and_state(outbox: Outbox, path: Path) -> None:
    found = answer(path, "summary")
    assert (found["rows"], found["oldest"], found["epoch"]) == (3, START, outbox.epoch)
    assert found["parked"] == {"not-storable: no": 2}
    assert [(one["kind"], one["shed"], one["state"], one["rows"]) for one in found["classes"]] == [
        ("readings", "diagnostics", "queued", 1), ("results", "results", "queued", 1),
        ("readings", "billing", "queued", 1), ("readings", "billing", "parked", 2),
    ]  # fmt: skip
    text = run(path, "summary").stdout
    assert "refused: 2 × not-storable: no" in text
    assert "3 batches wait" in text


async def test_list_pages_and_filters(outbox: Outbox, path: Path) -> None:
    first = answer(path, "list", "--limit", "2")
    assert [row["seq"] for row in first["rows"]] == [1, 2]
    rest = answer(path, "list", "--limit", "10", "--after", str(first["next_after"]))
    assert [row["seq"] for row in rest["rows"]] == [3, 4, 5]
    assert rest["next_after"] is None
    assert [row["seq"] for row in answer(path, "list", "--state", "parked")["rows"]] == [3, 4]
    assert [row["seq"] for row in answer(path, "list", "--shed", "diagnostics")["rows"]] == [2]
    assert [row["seq"] for row in answer(path, "list", "--kind", "results")["rows"]] == [5]
    assert "more: --after 2" in run(path, "list", "--limit", "2").stdout


async def test_show_tells_what_a_batch_holds(outbox: Outbox, path: Path) -> None:
    shown = answer(path, "show", "1")
    assert len(shown["items"]) == 200
    assert shown["items"][0] == {
        "device": "m-1", "channel": "energy_import_total", "taken_at": START, "value": 0, "quality": 0
    }  # fmt: skip
    assert '"state": "done"' in run(path, "show", "5").stdout
    missing = run(path, "show", "99")
    assert missing.exit_code == 1
    assert "no batch 99" in missing.stderr


async def test_retry_queues_again_and_the_running_gateway_takes_notice(outbox: Outbox, path: Path) -> None:
    rows, place = await outbox.look(-1, 10, ALL)
    assert [row.seq for row in rows] == [1, 2, 5]
    assert answer(path, "retry", "4", "77", code=1) == {"queued": 1}
    assert answer(path, "retry") == {"queued": 1}
    await outbox.put(Up.READINGS, body(3))
    rows, _ = await outbox.look(place, 10, ALL)
    assert [len(codec.decode_points(row.body)) for row in rows] == [2, 1, 3]
    stats = await outbox.stats()
    assert stats.parked == 0
    held = await outbox.run(lambda db: db.execute("SELECT sum(bytes) FROM batch").fetchone()[0])
    assert stats.bytes == held


async def test_export_writes_every_batch_decoded(outbox: Outbox, path: Path, tmp_path: Path) -> None:
    target = tmp_path / "queue.jsonl"
    assert answer(path, "export", str(target)) == {"batches": 5, "unreadable": 0, "file": str(target)}
    lines = [json.loads(line) for line in target.read_text().splitlines()]
    assert [len(line["items"]) for line in lines] == [200, 20, 1, 2, 1]
    again = run(path, "export", str(target))
    assert again.exit_code == 2
    assert len(target.read_text().splitlines()) == 5


async def test_what_cannot_be_decoded_is_said_so(outbox: Outbox, path: Path, tmp_path: Path) -> None:
    seq = await outbox.put(Up.PASSAGES, b'["nonsense"]')
    assert answer(path, "show", str(seq))["items"].startswith("bad-schema")
    assert answer(path, "export", str(tmp_path / "all"), code=1)["unreadable"] == 1


async def test_salvage_queues_what_a_damaged_file_still_holds(outbox: Outbox, path: Path, tmp_path: Path) -> None:
    lost = Outbox.open(tmp_path / "old.sqlite", 1 << 26)
    points = [[Point(f"m-{n}", "flow", START + k, n * 7_919 + k) for k in range(150)] for n in range(120)]
    for batch in points:
        await lost.put(Up.READINGS, codec.encode_body(batch), shed=Shed.DIAGNOSTICS)
    lost.close()
    file = tmp_path / "old.sqlite"
    content = bytearray(file.read_bytes())
    middle = len(content) // 8192 * 4096
    content[middle : middle + 4096] = b"\xff" * 4096
    file.write_bytes(content)

    counted = answer(path, "salvage", str(file), "--dry-run", code=1)
    assert counted["queued"] == 0
    done = answer(path, "salvage", str(file), code=1)
    assert done["queued"] == counted["readable"] > 100
    assert done["skipped"] > 0
    await outbox.put(Up.HEALTH, b"[]")
    rows, _ = await outbox.look(5, 1_000, (Up.READINGS,))
    back = {codec.decode_points(row.body) for row in rows}
    assert len(back) == done["queued"]
    assert back <= {tuple(batch) for batch in points}
    assert (await outbox.stats()).queued[Shed.DIAGNOSTICS] == done["queued"] + 1
    assert bytes(content) == file.read_bytes()


def test_salvaging_what_is_no_outbox_fails_clearly(path: Path, tmp_path: Path) -> None:
    Outbox.open(path, 1 << 20).close()
    rubbish = tmp_path / "rubbish"
    rubbish.write_bytes(b"rubbish" * 1_000)
    assert answer(path, "salvage", str(rubbish), code=1)["queued"] == 0
    assert run(path, "salvage", str(tmp_path / "nothing")).exit_code == 2


def test_a_stopped_gateways_file_is_read_as_well_and_none_is_no_file(path: Path, tmp_path: Path) -> None:
    Outbox.open(path, 1 << 20).close()
    assert answer(path, "summary")["rows"] == 0
    for wrong in (tmp_path / "nothing", tmp_path):
        assert run(wrong, "summary").exit_code == 2
    path.write_bytes(b"no database" * 500)
    assert run(path, "summary").exit_code == 2
    assert RUNNER.invoke(app, ["queue", "summary"]).exit_code == 2


def test_the_site_file_tells_where_the_outbox_is(path: Path, tmp_path: Path) -> None:
    Outbox.open(path, 1 << 20).close()
    site = tmp_path / "site.yaml"
    site.write_text(f"project: p\ngateway: g\nstate_directory: {tmp_path}\nbroker: {{host: localhost}}\n")
    result = RUNNER.invoke(app, ["queue", "summary", "--site", str(site), "--json"])
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == 0


@pytest.mark.parametrize("command", ["summary", "list", "show", "retry", "export", "salvage"])
def test_help_has_an_example_and_the_exit_codes(command: str) -> None:
    text = " ".join(RUNNER.invoke(app, ["queue", command, "--help"]).stdout.split())
    assert f"gatemeter gateway queue {command}" in text
    assert "Exit codes" in text
