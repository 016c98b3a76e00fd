"""Metrics, health and status over HTTP."""

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from functools import partial

import pytest

from gateway.health.metrics import GatewayCollector
from gateway.health.observed import Queue
from gateway.health.server import HealthServer
from gateway.health.status import status
from gateway.health.vitals import STALE_AFTER_S, Vitals
from gateway.outbox import OutboxStats
from tests.unit.gateway.health.gateway import observed


class Clock:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def server(clock: Clock) -> Iterator[HealthServer]:
    vitals, source, queue = Vitals(clock), observed(), Queue(OutboxStats(7, 8_000, 1_000, 9))
    vitals.beat("outbox")
    document = partial(status, source, queue, vitals)
    serving = HealthServer(GatewayCollector(source, queue), vitals, document, 0)
    yield serving
    serving.close()


def get(server: HealthServer, path: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_metrics_are_prometheus_text(server: HealthServer) -> None:
    code, text = get(server, "/metrics")
    assert code == 200
    assert 'gatemeter_line_visits_total{line="l-1"} 4.0' in text
    assert "process_resident_memory_bytes" in text


def test_health_is_well_until_something_stops(server: HealthServer, clock: Clock) -> None:
    code, text = get(server, "/healthz")
    assert (code, json.loads(text)) == (200, {"ok": True, "problems": []})
    clock.now = STALE_AFTER_S + 5
    code, text = get(server, "/healthz")
    assert code == 503
    assert json.loads(text)["problems"] == ["outbox has not moved for 20 s"]


def test_the_status_shows_lines_devices_values_and_outbox(server: HealthServer) -> None:
    code, text = get(server, "/status")
    found = json.loads(text)
    assert (code, found["gateway"], found["problems"]) == (200, "gw-1", [])
    polled, pushed = found["lines"]
    assert (polled["line"], polled["connected"], polled["utilisation"]) == ("l-1", True, 0.25)
    assert pushed["intake"]["unknown"] == 5
    device = polled["devices"][0]
    assert (device["device"], device["round_trip_us"], device["timeouts"]) == ("m-1", 200, 1)
    assert device["values"] == [
        {"channel": "flow", "value": "1.500000", "unit": "m³/h", "taken_at": 5_000, "quality": ["out-of-range"]},
        {"channel": "volume_total", "value": "12.345678", "unit": "m³", "taken_at": 5_000, "quality": []},
    ]
    assert (found["outbox"]["rows"], found["outbox"]["parked"], found["uplink"]["state"]) == (7, 9, "online")
    assert found["outbox"]["age_s"] > 1_000_000_000
    assert found["barriers"][0]["device"] == "lane-in"


def test_other_paths_are_not_there(server: HealthServer) -> None:
    assert get(server, "/secrets")[0] == 404
