"""One fresh MQTT client per session: the library must never resend on its own what the outbox resends."""

import socket
from types import TracebackType

import aiomqtt
from paho.mqtt.enums import MQTTErrorCode

from gateway.uplink.settings import MqttEndpoint


class UplinkClient(aiomqtt.Client):
    """Publishes without waiting for the broker's acknowledgement: what counts is the cloud's own."""

    def post(self, topic: str, payload: bytes) -> None:
        """Hands a message with QoS 1 to the connection. Raises MqttError when there is none."""
        # The library's own `publish` waits in two tasks for every message; its one call below it is enough.
        result = self._client.publish(topic, payload, 1)
        if result.rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
            raise aiomqtt.MqttCodeError(result.rc, "could not publish message")

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
    client = UplinkClient(
        endpoint.host,
        endpoint.port,
        username=endpoint.username,
        password=endpoint.password(),
        identifier=identifier,
        protocol=aiomqtt.ProtocolVersion.V311,
        clean_session=True,
        keepalive=endpoint.keepalive_s,
        tls_context=endpoint.tls_context(),
        max_inflight_messages=inflight,
        # An acknowledgement and a publish in two small writes would wait 40 ms for each other otherwise.
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
    )
    client.pending_calls_threshold = inflight + 1
    return client
