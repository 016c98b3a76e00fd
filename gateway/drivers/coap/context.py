"""The message layer of CoAP as a meter's server needs it: patient with its own disk, careful with message numbers.

aiocoap 0.4.17 offers no way to set either, so this leans on its insides; the integration tests show that it still
does what it says, and the version is pinned.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any, Final

from aiocoap import Context
from aiocoap.interfaces import Resource
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.constants import TransportTuning
from aiocoap.tokenmanager import TokenManager

TRANSPORT: Final = "udp6"
"""UDP over IPv6 and IPv4 alike."""


class _Patient(TransportTuning):  # type: ignore[misc]  # aiocoap is untyped
    """No empty acknowledgement before the answer: battery meters take any acknowledgement for "stored", and delete.

    Until then the meter repeats its message, and the repetitions are known by their number. The time is beyond the one
    after which every sender has given up.
    """

    EMPTY_ACK_DELAY = 240.0


class _Messages(MessageManager):  # type: ignore[misc]  # aiocoap is untyped
    """Duplicates are told by number *and* content.

    A meter that starts counting at the same number after every sleep would else get the old message's
    acknowledgement for a new one, whose values nobody has stored.
    """

    def __init__(self, token_manager: TokenManager) -> None:
        super().__init__(token_manager)
        self._contents: dict[tuple[Any, int], bytes] = {}

    def dispatch_message(self, message: Any) -> None:
        message.transport_tuning = _Patient()
        super().dispatch_message(message)

    def _deduplicate_message(self, message: Any) -> bool:
        key = (message.remote, message.mid)
        content = message.token + bytes([message.code]) + message.opt.encode() + b"\xff" + message.payload
        if key in self._recent_messages and self._contents.get(key) != content:
            self._contents[key] = content
            self._recent_messages[key] = None
            return False
        duplicate: bool = super()._deduplicate_message(message)
        if not duplicate:
            self._contents[key] = content
            self.loop.call_later(message.transport_tuning.EXCHANGE_LIFETIME, self._forget, key)
        return duplicate

    def _forget(self, key: tuple[Any, int]) -> None:
        if key not in self._recent_messages:
            self._contents.pop(key, None)


class MeterServerContext(Context):  # type: ignore[misc]  # aiocoap is untyped
    """A CoAP endpoint that answers requests by `serversite`."""

    async def _append_tokenmanaged_messagemanaged_transport(
        self, message_interface_constructor: Callable[[MessageManager], Awaitable[Any]]
    ) -> None:
        tokens = TokenManager(self)
        messages = _Messages(tokens)
        messages.message_interface = await message_interface_constructor(messages)
        tokens.token_interface = messages
        self.request_interfaces.append(tokens)


def udp_port(context: Context) -> int:
    """The UDP port that a context of our transport listens on."""
    transport = context.request_interfaces[0].token_interface.message_interface.transport
    port: int = transport.get_extra_info("socket").getsockname()[1]
    return port


async def listen(site: Resource, host: str, port: int) -> MeterServerContext:
    """Opens the socket. Raises OSError and aiocoap's errors when the address cannot be had."""
    await _refuse_shared(host, port)
    context: MeterServerContext = await MeterServerContext.create_server_context(
        site, (host, port), transports=[TRANSPORT]
    )
    return context


async def _refuse_shared(host: str, port: int) -> None:
    """aiocoap lets several processes share a port, and each would get some of the meters. Raises OSError."""
    loop = asyncio.get_running_loop()
    family, kind, protocol, _, address = (await loop.getaddrinfo(host, port, type=socket.SOCK_DGRAM))[0]
    with socket.socket(family, kind, protocol) as probe:
        probe.bind(address)
