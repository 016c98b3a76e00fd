"""A meter on mains power: it serves its last readings as one resource that can be observed."""

from collections import deque
from typing import Any, Final

from aiocoap import Context, Message
from aiocoap.numbers.codes import CONTENT, NOT_FOUND
from aiocoap.resource import ObservableResource, Resource, Site

from gateway.drivers.coap.context import TRANSPORT, udp_port
from simulators.coap.meter import SenmlMeter
from simulators.coap.senml import encode

_HISTORY: Final = 10
"""Readings in a pack: an observer that missed notifications still gets all that is in one."""


class MainsMeter:
    """Listens on a UDP port of its own. Without `observable` it answers only when asked."""

    def __init__(self, meter: SenmlMeter, content_format: int, observable: bool = True) -> None:
        self.times: deque[int] = deque(maxlen=_HISTORY)
        self.answered = 0
        """Packs given out, notifications included."""
        self.observers = 0
        self.meter = meter
        self._content_format = content_format
        self._observable = observable
        self._resource: Resource | None = None
        self._context: Context | None = None

    async def start(self, host: str, port: int, path: str = "meter") -> None:
        """Serves `path` on a port that no other simulated meter has. Raises OSError."""
        site = Site()
        self._resource = _Observable(self) if self._observable else _Plain(self)
        site.add_resource(path.split("/"), self._resource)
        self._context = await Context.create_server_context(site, (host, port), transports=[TRANSPORT])

    async def stop(self) -> None:
        """As a power cut: observers are forgotten and told nothing."""
        if self._context is not None:
            await self._context.shutdown()
            self._context = None
            self.observers = 0

    @property
    def port(self) -> int:
        """The UDP port that it listens on."""
        assert self._context is not None
        return udp_port(self._context)

    def end_observations(self) -> None:
        """Tells every observer that there is nothing more to observe."""
        assert isinstance(self._resource, _Observable)
        self._resource.updated_state(Message(code=NOT_FOUND))

    def read(self, at_s: int) -> None:
        """Takes a reading and notifies the observers."""
        self.times.append(at_s)
        if isinstance(self._resource, _Observable):
            self._resource.updated_state()

    def answer(self) -> Message:
        """The resource as it is now."""
        self.answered += 1
        payload = encode(self.meter.pack(list(self.times)), self._content_format)
        return Message(code=CONTENT, payload=payload, content_format=self._content_format)


class _Plain(Resource):  # type: ignore[misc]  # aiocoap is untyped
    def __init__(self, meter: MainsMeter) -> None:
        super().__init__()
        self._meter = meter

    async def render_get(self, request: Any) -> Message:
        del request
        return self._meter.answer()


class _Observable(ObservableResource):  # type: ignore[misc]  # aiocoap is untyped
    def __init__(self, meter: MainsMeter) -> None:
        super().__init__()
        self._meter = meter

    async def render_get(self, request: Any) -> Message:
        del request
        return self._meter.answer()

    def update_observation_count(self, newcount: int) -> None:
        self._meter.observers = newcount
