"""One fresh MQTT client per session: the library must never resend on its own what the outbox resends."""

import logging
import socket
from types import TracebackType
from typing import Any

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode

from gateway.uplink.settings import MqttEndpoint


class _LastError(logging.Handler):
    """The last error that the library logged: it tells nobody else why a connection broke."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.text = ""

    def emit(self, record: logging.LogRecord) -> None:
        self.text = record.getMessage()


class UplinkClient(aiomqtt.Client):
    """Publishes without waiting for the broker's acknowledgement: what counts is the cloud's own.

    A broker that hangs up instead of answering (it wants another certificate) is not waited for, and the reason is
    in the MqttError.
    """

    last_error: _LastError

    def post(self, topic: str, payload: bytes) -> None:
        """Hands a message with QoS 1 to the connection. Raises MqttError when there is none."""
        # The library's own `publish` waits in two tasks for every message; its one call below it is enough.
        result = self._client.publish(topic, payload, 1)
        if result.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(result.rc, "could not publish message")

    def _on_socket_close(self, client: Any, userdata: Any, sock: Any) -> None:
        super()._on_socket_close(client, userdata, sock)
        self._loop.call_soon_threadsafe(self._closed_early)

    def _closed_early(self) -> None:
        if not self._connected.done():
            why = self.last_error.text or "no reason given"
            self._connected.set_exception(aiomqtt.MqttError(f"the broker closed the connection: {why}"))

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        await super().__aexit__(exc_type, exc, tb)
        if self._disconnected.done():
            self._disconnected.exception()  # looked at, so that nobody warns that it never was


def new_client(endpoint: MqttEndpoint, identifier: str, inflight: int = 20) -> UplinkClient:
    """A client that was never connected, with a clean session. Raises CredentialsMissing.

    `identifier` is stable: the broker closes the session of a predecessor that it has not yet missed.
    """
    last_error = _LastError()
    logger = logging.Logger("mqtt")  # of its own: what matters of it is told once, by whoever uses the client
    logger.addHandler(last_error)
    client = UplinkClient(
        endpoint.host,
        endpoint.port,
        username=endpoint.username,
        password=endpoint.password(),
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        keepalive=endpoint.keepalive_s,
        logger=logger,
        tls_context=endpoint.tls_context(),
        max_inflight_messages=inflight,
        # An acknowledgement and a publish in two small writes would wait 40 ms for each other otherwise.
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    client.last_error = last_error
    client.pending_calls_threshold = inflight + 1
    return client
