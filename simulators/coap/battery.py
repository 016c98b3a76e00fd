"""A battery meter: it wakes, pushes what the gateway has not acknowledged yet, and sleeps."""

import random
from collections import deque
from typing import Any, Final

from aiocoap import Context, Message, error
from aiocoap.numbers.codes import POST

from simulators.coap.meter import SenmlMeter
from simulators.coap.senml import encode

_KEPT: Final = 2_000
"""Readings that it keeps for the time when the gateway is back; the oldest go first."""
_IN_A_PACK: Final = 200


class BatteryMeter:
    """Pushes to `uri`. With `repeats` it sometimes sends what is acknowledged already once more, in a new message."""

    def __init__(self, meter: SenmlMeter, uri: str, content_format: int, seed: int, repeats: float = 0.0) -> None:
        self.uri = uri
        self.waiting: deque[int] = deque(maxlen=_KEPT)
        """Times of readings that are not acknowledged, oldest first."""
        self._meter, self._content_format, self._repeats = meter, content_format, repeats
        self._chance = random.Random(f"{seed}/{meter.base_name}")

    def read(self, at_s: int) -> None:
        """Takes a reading into its memory."""
        self.waiting.append(at_s)

    async def push(self, context: Context) -> Any:
        """Sends all that waits, by packs; gives the last answer, None for silence. Forgets what is acknowledged."""
        answer = None
        while self.waiting:
            times = list(self.waiting)[:_IN_A_PACK]
            answer = await self._send(context, times)
            if answer is None or not answer.code.is_successful():
                break
            if self._chance.random() < self._repeats:
                await self._send(context, times)
            for _ in times:
                self.waiting.popleft()
        return answer

    async def _send(self, context: Context, times: list[int]) -> Any:
        payload = encode(self._meter.pack(times), self._content_format)
        message = Message(code=POST, uri=self.uri, payload=payload, content_format=self._content_format)
        try:
            return await context.request(message).response
        except error.Error:
            return None
