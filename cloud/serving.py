"""The HTTP server of the web process: what uvicorn does, and open streams end when it is told to."""

import socket

import uvicorn
from fastapi import FastAPI

from cloud.kit.garbage import keep_what_is_loaded

_GRACE_S = 10


class Server(uvicorn.Server):
    """uvicorn waits for open answers before it ends the application: endless ones must end before that."""

    def __init__(self, app: FastAPI, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._app = app

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Ends the streams, then everything else."""
        await self._app.state.live.close()
        await super().shutdown(sockets)


def server(app: FastAPI, host: str, port: int) -> Server:
    """A server that is not started yet."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
    return Server(app, config)


def serve_http(app: FastAPI, host: str, port: int) -> None:
    """Serves until SIGTERM or SIGINT."""
    keep_what_is_loaded()
    server(app, host, port).run()
