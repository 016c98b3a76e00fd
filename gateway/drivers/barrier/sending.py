"""Sends a picture to where the cloud wants it: a link that is good for a while and for this one picture."""

import http.client
import ssl
from typing import Final
from urllib.parse import urlsplit

from gateway.errors import GatewayError

_PATIENCE_S: Final = 20.0
_TAKEN: Final = frozenset({200, 201, 204})
_MAX_ANSWER_BYTES: Final = 64 * 1024


class NotTaken(GatewayError):
    """Whoever is behind the link did not take the picture."""


def put_picture(link: str, picture: bytes) -> None:
    """PUTs a JPEG; blocks up to 20 s, follows nothing. Raises NotTaken.

    The link comes in a signed command, so it is the cloud's. Its secret stays out of every error.
    """
    parts = urlsplit(link)
    host = parts.hostname or ""
    target = parts.path + (f"?{parts.query}" if parts.query else "")
    try:
        connection = _connection(parts.scheme, host, parts.port)
        try:
            connection.request("PUT", target, picture, {"Content-Type": "image/jpeg"})
            answer = connection.getresponse()
            answer.read(_MAX_ANSWER_BYTES)
        finally:
            connection.close()
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise NotTaken(f"{host}: {type(error).__name__}") from error
    if answer.status not in _TAKEN:
        raise NotTaken(f"{host}: it answers {answer.status}")


def _connection(scheme: str, host: str, port: int | None) -> http.client.HTTPConnection:
    if scheme == "https":
        return http.client.HTTPSConnection(host, port, timeout=_PATIENCE_S, context=ssl.create_default_context())
    return http.client.HTTPConnection(host, port, timeout=_PATIENCE_S)
