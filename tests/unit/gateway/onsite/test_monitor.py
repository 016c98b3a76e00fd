"""What a running gateway serves is what the monitor shows."""

import json
import socket
from collections.abc import Iterator
from functools import partial

import pytest
from rich.console import Console
from typer.testing import CliRunner

from gateway.cli import app
from gateway.health.metrics import GatewayCollector
from gateway.health.observed import Queue
from gateway.health.server import HealthServer
from gateway.health.status import status
from gateway.health.vitals import Vitals
from gateway.onsite.monitor import Chosen, NoGateway, fetch, table
from gateway.outbox import OutboxStats
from tests.unit.gateway.health.gateway import observed

RUNNER = CliRunner()


@pytest.fixture
def ill() -> list[str]:
    return []


@pytest.fixture
def port(ill: list[str]) -> Iterator[int]:
    source, queue, vitals = observed(), Queue(OutboxStats(7, 8_000, 1_000, 2)), Vitals(look=lambda: ill)
    document = partial(status, source, queue, vitals)
    server = HealthServer(GatewayCollector(source, queue), vitals, document, 0)
    yield server.port
    server.close()


def shown(port: int, chosen: Chosen) -> str:
    console = Console(width=200, record=True, quiet=True)
    console.print(table(chosen.of(fetch(port))))
    with console.capture() as capture:
        console.quiet = False
        console.print(table(chosen.of(fetch(port))))
    return capture.get()


def test_lines_devices_values_outbox_and_uplink_are_shown(port: int) -> None:
    text = shown(port, Chosen())
    for wanted in ("demo/gw-1", "uplink online", "7 batches, 8.0 kB", "2 refused", "connected", "down", "m-1", "fine",
                   "b-1", "waiting", "volume_total", "12.345678", "m³", "out-of-range"):  # fmt: skip
        assert wanted in text


def test_lines_and_devices_can_be_chosen_by_parts_of_their_names(port: int) -> None:
    assert "push" not in shown(port, Chosen(line="l-"))
    assert "m-1" not in shown(port, Chosen(device="b-"))
    assert "l-1" not in shown(port, Chosen(device="b-"))


def test_once_prints_the_state_and_ends(port: int) -> None:
    result = RUNNER.invoke(app, ["monitor", "--port", str(port), "--once"])
    assert (result.exit_code, "volume_total" in result.stdout) == (0, True)
    result = RUNNER.invoke(app, ["monitor", "--port", str(port), "--once", "--json", "--line", "push"])
    assert [line["line"] for line in json.loads(result.stdout)["lines"]] == ["push"]


def test_a_gateway_that_hangs_is_exit_code_1(port: int, ill: list[str]) -> None:
    ill.append("outbox has not moved for 99 s")
    result = RUNNER.invoke(app, ["monitor", "--port", str(port), "--once"])
    assert result.exit_code == 1
    assert "outbox has not moved for 99 s" in result.stdout


def test_nobody_there_is_exit_code_1_and_no_place_to_look_2() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = taken.getsockname()[1]
    with pytest.raises(NoGateway, match="no gateway answers"):
        fetch(free)
    assert RUNNER.invoke(app, ["monitor", "--port", str(free)]).exit_code == 1
    assert RUNNER.invoke(app, ["monitor"]).exit_code == 2
