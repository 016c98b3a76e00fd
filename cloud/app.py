"""The web process: everything that answers HTTP, wired together."""

import ipaddress
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import psycopg
from fastapi import APIRouter, FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from psycopg_pool import PoolTimeout
from starlette.middleware.gzip import DEFAULT_EXCLUDED_CONTENT_TYPES, GZipMiddleware
from starlette.responses import Response
from starlette.routing import BaseRoute
from starlette.staticfiles import StaticFiles

from cloud.features import rooms
from cloud.identity.guards import public
from cloud.identity.throttle import Throttle
from cloud.kit import i18n, problems
from cloud.kit.backlog import backlog, tell
from cloud.kit.db import NOBODY, Database
from cloud.kit.errors import NotFound
from cloud.kit.requests import RequestFrame
from cloud.kit.routing import Directory
from cloud.kit.security import Keys, Sealer
from cloud.metering.imports.service import MAX_UPLOAD_BYTES
from cloud.metering.live.hub import LiveHub
from cloud.openapi import describe
from cloud.parking.counts.hub import count_hub
from cloud.parking.desk.hub import desk_hub
from cloud.parking.pictures import links
from cloud.payments.channels.configuration import new_client, open_channels
from cloud.settings import CloudSettings
from cloud.web.shell import STATIC, environment
from gateway.contract import __version__

_ABOUT = """
Readings, usage, bills and parking of property estates.

Sign in with `POST /api/v1/tokens` and send the token as `Authorization: Bearer …`. Lists take `limit` and `cursor`.
Requests that create something take an `Idempotency-Key`. Amounts and quantities are decimal strings. Errors are
problem documents (RFC 9457); `code` is stable.
"""
_COMPRESSED = (
    "application/vnd.apache.parquet",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
)
"""Files that are not made smaller by doing it twice."""
_WAIT_FOR_CONNECTION_S = 5.0
"""How long a request waits while all connections are busy, before it is told so."""


def create_app(settings: CloudSettings, keys: Keys | None = None) -> FastAPI:
    """The application. Reads the keys file unless `keys` are given; the database is opened when it starts.

    Raises KeysError; BadKeyFile and InvalidFile for providers of payments.
    """
    app = FastAPI(
        title="gatemeter",
        version=__version__,
        description=_ABOUT,
        openapi_url="/api/v1/openapi.json" if settings.docs else None,
        # Their pages load scripts from a CDN.
        docs_url=None,
        redoc_url=None,
        # A redirect would name the host that the request named.
        redirect_slashes=False,
        lifespan=_lifespan,
    )
    equip(app, settings, keys or Keys.load(settings.keys_file))
    app.state.catalogues = i18n.load_catalogues()
    app.state.templates = environment()
    problems.install(app)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]  # FastAPI's way to extend the document
    app.router.routes.append(Directory(_routes()))
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(
        GZipMiddleware, minimum_size=1024, exclude_content_types=(*DEFAULT_EXCLUDED_CONTENT_TYPES, *_COMPRESSED)
    )
    app.add_middleware(
        RequestFrame,
        crashed=problems.unexpected,
        tls=settings.secure_cookies,
        max_upload_bytes={
            **{f"{prefix}/reading-imports": MAX_UPLOAD_BYTES for prefix in ("", "/api/v1")},
            links.PATH: links.MAX_BYTES,
        },
    )
    return app


def equip(app: FastAPI, settings: CloudSettings, keys: Keys) -> None:
    """Gives the application what it works with; before it starts. Raises as `create_app` does.

    Apart from the routes, which take a second to make: an application that has ended can be equipped and started anew.
    """
    app.state.settings = settings
    app.state.keys = keys
    app.state.sealer = Sealer(keys)
    app.state.throttle = Throttle()
    app.state.plate_throttle = Throttle("to look up a plate")
    app.state.payment_client = new_client()
    app.state.payment_channels = open_channels(settings.payments_file, settings.public_url, app.state.payment_client)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings: CloudSettings = app.state.settings
    pool, wait_s = settings.database_pool, _WAIT_FOR_CONNECTION_S
    async with Database(settings.dsn(), "gatemeter_web", max_size=pool, timeout_s=wait_s) as db:
        app.state.db = db
        app.state.live = LiveHub(db)
        app.state.counts = count_hub(db)
        app.state.desks = desk_hub(db)
        try:
            yield
        finally:
            await app.state.live.close()
            await app.state.counts.close()
            await app.state.desks.close()
            await app.state.payment_client.aclose()


def _routes() -> Iterator[BaseRoute]:
    yield from _service_routes().routes
    for name in ("api", "pages"):
        for module in rooms(name):
            yield from module.router.routes


def _service_routes() -> APIRouter:
    router = APIRouter(include_in_schema=False, dependencies=[public()])

    @router.get("/healthz")
    async def health(request: Request) -> dict[str, str]:
        """Answers when the database does."""
        async with request.app.state.db.transaction(NOBODY) as conn:
            await conn.execute("SELECT 1")
        return {"status": "ok", "version": __version__}

    @router.get("/metrics")
    async def metrics(request: Request) -> Response:
        """Prometheus metrics, for those whom the settings let read them."""
        if not _may_read_metrics(request):
            raise NotFound("no-such-address", "Not Found")
        await _measure_backlog(request.app.state.db)
        return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)

    return router


async def _measure_backlog(db: Database) -> None:
    """Takes the gauges of what waits; without a database nobody knows them, and the other metrics are still told."""
    try:
        async with db.transaction(NOBODY) as conn:
            tell(await backlog(conn))
    except (psycopg.Error, PoolTimeout):
        tell(None)


def _may_read_metrics(request: Request) -> bool:
    who = request.app.state.settings.metrics
    if who == "local":
        return request.client is not None and _is_loopback(request.client.host)
    return bool(who == "open")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
