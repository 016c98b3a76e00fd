"""`/metrics` for Prometheus, `/healthz` for whoever restarts or watches the process, `/status` for people, on loopback.

The server has a thread of its own: it answers, and says so, when the event loop hangs.
"""

import json
from collections.abc import Callable, Iterable
from threading import Thread
from typing import TYPE_CHECKING, Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, ProcessCollector, make_wsgi_app
from prometheus_client.registry import Collector

from gateway.health.vitals import Vitals

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIEnvironment

Status = Callable[[], dict[str, Any]]
"""What `/status` tells: plain values, quick to gather, safe to call from another thread."""


class _Quiet(WSGIRequestHandler):
    timeout = 3
    """Whoever connects and asks nothing must not keep the others waiting."""

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """A line for every scrape would drown the log."""


class HealthServer:
    """Serves on 127.0.0.1; port 0 takes a free one. Raises OSError when the port is taken."""

    def __init__(self, collector: Collector, vitals: Vitals, status: Status, port: int) -> None:
        registry = CollectorRegistry()
        registry.register(collector)
        ProcessCollector(registry=registry)
        self._metrics = make_wsgi_app(registry)
        self._vitals, self._status = vitals, status
        self._server: WSGIServer = make_server("127.0.0.1", port, self._answer, handler_class=_Quiet)
        self.port = self._server.server_port
        self._thread = Thread(target=self._server.serve_forever, name="health", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stops serving."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def _answer(self, environ: "WSGIEnvironment", start: "StartResponse") -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path == "/healthz":
            problems = self._vitals.problems()
            return _json(start, {"ok": not problems, "problems": problems}, ill=bool(problems))
        if path == "/status":
            return _json(start, self._status())
        if path in ("/metrics", "/"):
            metrics: Iterable[bytes] = self._metrics(environ, start)
            return metrics
        start("404 Not Found", [("Content-Type", "text/plain; charset=utf-8")])
        return [b"there are /metrics, /healthz and /status\n"]


def _json(start: "StartResponse", document: dict[str, Any], ill: bool = False) -> Iterable[bytes]:
    status = "503 Service Unavailable" if ill else "200 OK"
    start(status, [("Content-Type", "application/json"), ("Cache-Control", "no-store")])
    return [json.dumps(document, ensure_ascii=False).encode(), b"\n"]
