"""`python -m simulators.broker.embedded SETTINGS`: the pure Python broker (amqtt) with our passwords and ACL."""

import asyncio
import hashlib
import hmac
import json
import logging
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action, BaseContext
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from simulators.broker.access import covers


class Gatekeeper(BaseAuthPlugin, BaseTopicPlugin):  # type: ignore[misc]  # amqtt is not typed
    """Lets in who knows the password, and lets everybody write and read what is his."""

    @dataclass
    class Config:
        """`clients`: username to `password_sha256`, `write` and `read`, as `engines.write_amqtt` writes them."""

        clients: dict[str, Any] = field(default_factory=dict)

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._clients: dict[str, dict[str, Any]] = self.config.clients

    async def authenticate(self, *, session: Session) -> bool:
        """Whether the password is that of the username."""
        client = self._clients.get(session.username or "")
        given = hashlib.sha256((session.password or "").encode()).hexdigest()
        return client is not None and hmac.compare_digest(client["password_sha256"], given)

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool:
        """Whether the client may publish to, subscribe to or receive from `topic`."""
        client = self._clients.get((session.username if session is not None else None) or "")
        if client is None or topic is None:
            return False
        allowed = client["write" if action == Action.PUBLISH else "read"]
        return any(covers(one, topic) for one in allowed)


async def serve(settings: dict[str, Any]) -> None:
    """Runs the broker until SIGTERM or SIGINT."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    broker = Broker(
        {
            "listeners": {"default": {"type": "tcp", "bind": settings["bind"]}},
            "plugins": {f"{Gatekeeper.__module__}.Gatekeeper": {"clients": settings["clients"]}},
        }
    )
    await broker.start()
    await stop.wait()
    await broker.shutdown()


def main() -> None:
    """Reads the settings file that the command line names, and serves."""
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    # The plugin is found by its module's name, which must not be a second copy of this one.
    from simulators.broker import embedded

    asyncio.run(embedded.serve(json.loads(Path(sys.argv[1]).read_text("utf-8"))))


if __name__ == "__main__":
    main()
