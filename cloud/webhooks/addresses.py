"""Where webhooks may go: addresses of the public internet, looked up once and then connected to, never redirected."""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import httpcore

from cloud.kit.errors import InvalidInput

LONGEST_URL: Final = 2000
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")


class Refused(httpcore.ConnectError):
    """The name leads to an address that webhooks may not reach."""


def check_url(url: str, *, private: bool) -> None:
    """Refuses what could never be delivered to. `private`: http and addresses of one's own network will do.

    Raises InvalidInput.
    """
    parts = _parts(url)
    if parts is None or parts.scheme not in (("https", "http") if private else ("https",)):
        raise _bad("expected an address that begins with https://")
    if not parts.hostname or parts.username is not None or parts.password is not None or parts.fragment:
        raise _bad("expected a host, and neither user, password nor fragment")
    literal = _literal(parts.hostname)
    if literal is not None and not private and not is_public(literal):
        raise _bad("expected an address of the public internet")


def is_public(address: str) -> bool:
    """Whether an IP address belongs to the public internet, also one that is wrapped in an IPv6 address."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(ip, ipaddress.IPv6Address):
        inner = ip.ipv4_mapped or ip.sixtofour or (ip.teredo or (None, None))[1]
        if inner is None and ip in _NAT64:
            inner = ipaddress.IPv4Address(int(ip) & 0xFFFF_FFFF)
        if inner is not None:
            return is_public(str(inner))
    return ip.is_global and not ip.is_multicast and not ip.is_reserved


class GuardedBackend(httpcore.AsyncNetworkBackend):
    """Connects to the address that was checked: a name that changes between check and connection changes nothing."""

    def __init__(self, *, private: bool) -> None:
        self._private = private
        self._backend = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Tries the addresses of `host` in turn. Raises Refused, httpcore.ConnectError."""
        found = await self._addresses(host, port)
        failed: Exception = httpcore.ConnectError("the name has no address")
        for address in found:
            try:
                return await self._backend.connect_tcp(address, port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failed = error
        raise failed

    async def sleep(self, seconds: float) -> None:
        """As the interface wants it."""
        await self._backend.sleep(seconds)

    async def _addresses(self, host: str, port: int) -> list[str]:
        try:
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(f"the name is not known: {error.strerror}") from error
        addresses = list(dict.fromkeys(str(one[4][0]) for one in found))
        if not self._private and not all(map(is_public, addresses)):
            raise Refused("the name leads to a private address")
        return addresses


def _parts(url: str) -> SplitResult | None:
    if len(url) > LONGEST_URL or not url.isascii() or not url.isprintable() or " " in url:
        return None
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return None
    return parts


def _literal(host: str) -> str | None:
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return None


def _bad(detail: str) -> InvalidInput:
    return InvalidInput("bad-url", detail, field="url")
